import { type Arena, damaged, type Image } from './arena.ts'
import {
  AT,
  BLOCK,
  BLOCK_BITS,
  COMPOSEFS_HEADER_VERSION,
  COMPOSEFS_MAGIC,
  EROFS_MAGIC,
  SLOT,
  SUPERBLOCK,
  SUPERBLOCK_BYTES,
} from './format.ts'

/** The image whose bytes fill the beginning of an arena. Whether they are the right bytes, its digest tells. @throws integrity */
export function parseImage(arena: Arena, bytes: number): Image {
  const { u16, u32, view } = arena
  const intact =
    bytes >= BLOCK &&
    bytes % BLOCK === 0 &&
    u32[0] === COMPOSEFS_MAGIC &&
    u32[1] === COMPOSEFS_HEADER_VERSION &&
    u32[AT.magic / 4] === EROFS_MAGIC &&
    arena.bytes[AT.blockBits] === BLOCK_BITS &&
    u32[AT.blocks / 4] * BLOCK === bytes &&
    u32[AT.inodes / 4] * SLOT < bytes &&
    u16[AT.root / 2] * SLOT >= SUPERBLOCK + SUPERBLOCK_BYTES &&
    u16[AT.root / 2] * SLOT < bytes
  if (!intact) throw damaged('it does not begin as composefs writes it')
  return {
    arena,
    root: u16[AT.root / 2],
    seconds: Number(view.getBigInt64(AT.seconds, true)),
    nanoseconds: u32[AT.nanoseconds / 4],
    xattrBase: u32[AT.xattrBlock / 4] * BLOCK,
    firstAdded: bytes / SLOT,
    inodes: u32[AT.inodes / 4],
  }
}
