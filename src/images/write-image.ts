import {
  AT,
  BLOCK,
  BLOCK_BITS,
  COMPOSEFS_FLAG_ACL,
  COMPOSEFS_HEADER_VERSION,
  COMPOSEFS_MAGIC,
  DIRENT,
  EROFS_COMPATIBLE,
  EROFS_MAGIC,
  EXTENDED_INODE,
  LAYOUT,
  NO_CHUNK,
  SLOT,
  SUPERBLOCK,
  SUPERBLOCK_BYTES,
  TYPE,
  XATTR_HEADER,
} from '../erofs/format.ts'
import { eachPiece } from '../erofs/inode.ts'
import { xattrBytesAt, xattrFilterBit } from '../erofs/xattrs.ts'
import { HASH_BYTES } from '../hashes/sha256.ts'
import { type Digest, verityFromLeaves } from '../hashes/verity.ts'
import { FLAG, type Slot, type Tree } from '../tree/tree.ts'
import { createPlacer, type Layout, type Placer } from './layout.ts'
import { SKIPPED } from './shared-xattrs.ts'
import { openWindow, type Window, type WriteAt } from './window.ts'

interface Writing {
  readonly tree: Tree
  readonly layout: Layout
  readonly placer: Placer
  /** Inodes with what stands behind them; and whole blocks of data. */
  readonly head: Window
  readonly data: Window
  /** The offset of the next block of data, the number of the next inode and of the next directory. */
  nextBlock: number
  nextInode: number
  directory: number
  /** The filter bit of each xattr name met. */
  readonly filterBits: Map<string, number>
}

/**
 * Writes a tree's image, byte for byte what mkcomposefs 1.0.8 makes of the same tree. Two windows move over the file, so that a large
 * image needs no second copy. Returns the image's fs-verity digest.
 */
export function writeImage(tree: Tree, layout: Layout, write: WriteAt): Digest {
  const leaves = Buffer.alloc((layout.bytes / BLOCK) * HASH_BYTES)
  const writing: Writing = {
    tree,
    layout,
    placer: createPlacer(tree, layout.shared, layout),
    head: openWindow(0, layout.dataStart, leaves, write),
    data: openWindow(layout.dataStart, layout.bytes, leaves, write),
    nextBlock: layout.dataStart,
    nextInode: 0,
    directory: 0,
    filterBits: new Map(),
  }
  putSuperblock(writing)
  for (let slot = 0; slot < tree.slots; slot++) if ((tree.flag[slot] & SKIPPED) === 0) putInode(writing, slot)
  putSharedXattrs(writing)
  writing.head.finish(layout.dataStart)
  writing.data.finish(layout.bytes)
  return verityFromLeaves(leaves, layout.bytes)
}

function putSuperblock({ head, layout }: Writing): void {
  head.at(0, SUPERBLOCK + SUPERBLOCK_BYTES)
  head.u32.set([COMPOSEFS_MAGIC, COMPOSEFS_HEADER_VERSION, layout.shared.hasAcl ? COMPOSEFS_FLAG_ACL : 0, 0])
  head.u32[AT.magic / 4] = EROFS_MAGIC
  head.u32[AT.compatible / 4] = EROFS_COMPATIBLE
  head.bytes[AT.blockBits] = BLOCK_BITS
  head.u16[AT.root / 2] = layout.node[0]
  head.u32[AT.inodes / 4] = layout.inodes
  head.bytes.writeBigInt64LE(BigInt(layout.seconds), AT.seconds)
  head.u32[AT.nanoseconds / 4] = layout.nanoseconds
  head.u32[AT.blocks / 4] = layout.bytes / BLOCK
  head.u32[AT.xattrBlock / 4] = Math.floor(layout.inodesEnd / BLOCK)
}

function putInode(writing: Writing, slot: Slot): void {
  const { placer, head } = writing
  placer.next(slot)
  const { place } = placer
  const at = head.at(place.at, place.headBytes + place.xattrBytes + place.tail)
  const block = writing.nextBlock
  writing.nextBlock += place.blocks * BLOCK
  putFields(writing, at, block)
  const xattrsAt = at + place.headBytes
  if (place.xattrs !== undefined) putXattrs(writing, xattrsAt)
  else if (place.xattrBytes > 0) copyXattrs(writing, slot, xattrsAt)
  const tailAt = xattrsAt + place.xattrBytes
  if (place.type === TYPE.directory) putDirectory(writing, block, tailAt)
  else if (place.chunkBits > 0) putEmptyChunks(writing, block, tailAt)
  else if (place.size > 0) putContent(writing, slot, block, tailAt)
}

function putFields(writing: Writing, at: number, block: number): void {
  const { placer, head } = writing
  const { place, inode } = placer
  const { u16, u32 } = head
  const half = at / 2
  const word = at / 4
  const layout = place.chunkBits > 0 ? LAYOUT.chunks : place.tail > 0 ? LAYOUT.inline : LAYOUT.plain
  u16[half] = (layout << 1) | (place.headBytes === EXTENDED_INODE ? 1 : 0)
  u16[half + 1] = place.xattrBytes === 0 ? 0 : (place.xattrBytes - XATTR_HEADER) / 4 + 1
  u16[half + 2] = inode.mode
  u32[word + 2] = place.size
  u32[word + 4] = rawField(placer, block)
  u32[word + 5] = writing.nextInode++
  if (place.headBytes === EXTENDED_INODE) {
    u32[word + 3] = place.size / 2 ** 32
    u32[word + 6] = inode.uid
    u32[word + 7] = inode.gid
    u32[word + 8] = inode.seconds
    u32[word + 9] = Math.floor(inode.seconds / 2 ** 32)
    u32[word + 10] = inode.nanoseconds
    u32[word + 11] = place.links
  } else {
    u16[half + 3] = place.links
    u16[half + 12] = inode.uid
    u16[half + 13] = inode.gid
  }
}

/** First block, device number, or chunk format; mkcomposefs leaves the block's high half in the last. */
function rawField({ place, inode }: Placer, block: number): number {
  if (place.type === TYPE.character || place.type === TYPE.block) return inode.raw
  const first = place.blocks > 0 ? block / BLOCK : 0
  return place.chunkBits > 0 ? (first & ~0xffff) | (place.chunkBits - BLOCK_BITS) : first
}

function putXattrs(writing: Writing, at: number): void {
  const { tree, layout, placer, head } = writing
  const { bytes, u32 } = tree.image.arena
  const list = placer.place.xattrs ?? []
  const sharedBase = (layout.inodesEnd % BLOCK) / 4
  let filter = -1
  let to = (at + XATTR_HEADER) / 4
  for (const { at: from, shared } of list) {
    filter &= ~(1 << filterBit(writing, from))
    if (shared >= 0) head.u32[to++] = sharedBase + shared / 4
  }
  head.u32[at / 4] = filter
  head.bytes[at + 4] = to - (at + XATTR_HEADER) / 4
  for (const { at: from, shared } of list) {
    if (shared >= 0) continue
    const words = (4 + bytes[from] + tree.image.arena.u16[(from >>> 1) + 1] + 3) >> 2
    for (let i = 0; i < words; i++) head.u32[to++] = u32[(from >>> 2) + i]
  }
}

function filterBit({ tree, filterBits }: Writing, at: number): number {
  const { bytes } = tree.image.arena
  const name = bytes.subarray(at + 4, at + 4 + bytes[at])
  const key = String.fromCharCode(bytes[at + 1]) + name.toString('latin1')
  let bit = filterBits.get(key)
  if (bit === undefined) filterBits.set(key, (bit = xattrFilterBit(bytes[at + 1], name)))
  return bit
}

/** Copies the parent's xattr area; only the places of shared entries are others. */
function copyXattrs({ tree, layout, placer, head }: Writing, slot: Slot, at: number): void {
  const { bytes, u32 } = tree.image.arena
  const area = tree.node[slot] * SLOT + placer.inode.headBytes
  const from = area >>> 2
  const to = at / 4
  for (let i = 0; i < placer.place.xattrBytes / 4; i++) head.u32[to + i] = u32[from + i]
  const ids = XATTR_HEADER / 4
  const sharedBase = (layout.inodesEnd % BLOCK) / 4
  for (let i = ids; i < ids + bytes[area + 4]; i++)
    head.u32[to + i] = sharedBase + layout.shared.offsetOfParentId(u32[from + i]) / 4
}

function putDirectory(writing: Writing, block: number, tailAt: number): void {
  const { tree, placer, data } = writing
  const { first } = tree.directories
  const end = first[writing.directory + 1]
  let from = first[writing.directory++]
  let blocks = 0
  let used = 0
  for (let slot = from; slot < end; slot++) {
    const bytes = DIRENT + tree.nameLength[slot]
    if (used + bytes > BLOCK) {
      putDirents(writing, data, data.at(block + blocks++ * BLOCK, BLOCK), from, slot)
      used = 0
      from = slot
    }
    used += bytes
  }
  if (blocks < placer.place.blocks) putDirents(writing, data, data.at(block + blocks * BLOCK, BLOCK), from, end)
  else if (used > 0) putDirents(writing, writing.head, tailAt, from, end)
}

function putDirents({ tree, layout }: Writing, window: Window, at: number, from: Slot, end: Slot): void {
  const { nameAt, nameLength, flag } = tree
  const source = tree.image.arena.bytes
  const { bytes } = window
  let name = (end - from) * DIRENT
  for (let slot = from, entry = at; slot < end; slot++, entry += DIRENT) {
    const node = layout.node[slot]
    bytes[entry] = node
    bytes[entry + 1] = node >>> 8
    bytes[entry + 2] = node >>> 16
    bytes[entry + 3] = node >>> 24
    bytes[entry + 8] = name
    bytes[entry + 9] = name >>> 8
    bytes[entry + 10] = flag[slot] & FLAG.type
    for (let i = 0; i < nameLength[slot]; i++) bytes[at + name + i] = source[nameAt[slot] + i]
    name += nameLength[slot]
  }
}

function putEmptyChunks({ placer, head, data }: Writing, block: number, tailAt: number): void {
  const { place } = placer
  if (place.tail > 0) head.u32.fill(NO_CHUNK, tailAt / 4, (tailAt + place.tail) / 4)
  else {
    const at = data.at(block, place.blocks * BLOCK) / 4
    data.u32.fill(NO_CHUNK, at, at + BLOCK / 4)
  }
}

function putContent({ tree, placer, head, data }: Writing, slot: Slot, block: number, tailAt: number): void {
  const { place, inode } = placer
  const source = tree.image.arena.bytes
  const inBlocks = place.size - place.tail
  const blockAt = place.blocks > 0 ? data.at(block, place.blocks * BLOCK) : 0
  let done = 0
  eachPiece(tree.image, tree.node[slot], inode, (at, length) => {
    for (let i = 0; i < length; i++, done++) {
      if (done < inBlocks) data.bytes[blockAt + done] = source[at + i]
      else head.bytes[tailAt + done - inBlocks] = source[at + i]
    }
  })
}

function putSharedXattrs({ tree, layout, head }: Writing): void {
  const { bytes } = tree.image.arena
  let position = layout.inodesEnd
  for (const from of layout.shared.entries) {
    const size = xattrBytesAt(tree.image, from)
    bytes.copy(head.bytes, head.at(position, size), from, from + size)
    position += size
  }
}
