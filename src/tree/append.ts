import { createArena, type Image, type NodeId, roundUp } from '../erofs/arena.ts'
import { BLOCK, DIRENT_TYPE, EXTENDED_INODE, LAYOUT, SLOT, TYPE, XATTR_HEADER } from '../erofs/format.ts'
import {
  escapeXattrName,
  METACOPY,
  METACOPY_HEADER,
  OPAQUE,
  REDIRECT,
  splitXattrName,
  type Xattr,
  xattrEntryBytes,
} from '../erofs/xattrs.ts'
import { hashOfHex } from '../hashes/sha256.ts'
import type { Change, Entry } from './entry.ts'

/** The room behind an image where new inodes and names are put. */
export interface Annex {
  readonly image: Image
  /** Offset of the first free byte. */
  end: number
  /** Xattr entries put there so far. */
  xattrs: number
}

const NAMES_OF_ROOT_BYTES = 256 * 2 + SLOT

/** An image of nothing: the parent of a first commit. Its first block is kept free, so that no node has number 0. */
export function emptyImage(): Image {
  const arena = createArena(BLOCK)
  return { arena, root: 0, seconds: 0, nanoseconds: 0, xattrBase: 0, firstAdded: BLOCK / SLOT, inodes: 0 }
}

/** Makes room behind an image for all that `changes` adds; copies the image only if its arena is too small. */
export function openAnnex(image: Image, changes: Change): Annex {
  const start = image.firstAdded * SLOT
  const needed = start + bytesOfChanges(changes) + EXTENDED_INODE + NAMES_OF_ROOT_BYTES + BLOCK
  if (needed <= image.arena.bytes.length) return { image, end: start, xattrs: 0 }
  const arena = createArena(needed)
  image.arena.bytes.copy(arena.bytes, 0, 0, start)
  return { image: { ...image, arena }, end: start, xattrs: 0 }
}

function bytesOfChanges(changes: Change): number {
  let bytes = 0
  const pending = [changes]
  for (let change = pending.pop(); change !== undefined; change = pending.pop()) {
    if (change.entry) bytes += inodeBytes(change.entry) + SLOT
    for (const [name, child] of change.children ?? []) {
      bytes += name.length
      pending.push(child)
    }
  }
  return bytes
}

function inodeBytes(entry: Entry): number {
  let bytes = EXTENDED_INODE + XATTR_HEADER + entry.data.length + 40
  if (entry.digest !== undefined) bytes += 160
  for (const [name, value] of entry.xattrs) bytes += 16 + name.length + value.length
  return bytes
}

/** Puts a name there and returns its offset. */
export function appendName(annex: Annex, name: string): number {
  const at = annex.end
  annex.end += annex.image.arena.bytes.write(name, at, 'latin1')
  return at
}

/**
 * Puts an entry there as an extended inode with its xattrs and data behind it, unsorted. What comes later (hashing, layout) reads such
 * inodes and those of the image alike.
 */
export function appendInode(annex: Annex, entry: Entry, isRoot: boolean): NodeId {
  const { bytes, u16, u32, view } = annex.image.arena
  const at = roundUp(annex.end, SLOT)
  const xattrs = storedXattrs(entry, isRoot)
  const dataAt = appendXattrs(annex, at + EXTENDED_INODE, xattrs)
  bytes.write(entry.data, dataAt, 'latin1')
  const layout = entry.digest !== undefined ? LAYOUT.chunks : entry.data === '' ? LAYOUT.plain : LAYOUT.inline
  const size = entry.digest !== undefined ? entry.size : entry.data.length
  const half = at / 2
  const word = at / 4
  u16[half] = (layout << 1) | 1
  u16[half + 1] = xattrs.length === 0 ? 0 : (dataAt - at - EXTENDED_INODE - XATTR_HEADER) / 4 + 1
  u16[half + 2] = entry.mode
  u32[word + 2] = size
  u32[word + 3] = size / 2 ** 32
  u32[word + 4] = entry.device
  u32[word + 6] = entry.uid
  u32[word + 7] = entry.gid
  view.setBigInt64(at + 32, BigInt(entry.seconds), true)
  u32[word + 10] = entry.nanoseconds
  u32[word + 11] = 1
  annex.end = dataAt + entry.data.length
  return at / SLOT
}

/** The xattrs as the image has them: the user's names escaped, composefs' own added. */
function storedXattrs(entry: Entry, isRoot: boolean): Xattr[] {
  const list: Xattr[] = entry.xattrs.map(([name, value]) => [escapeXattrName(name), value])
  if (entry.digest !== undefined) {
    list.push([METACOPY, METACOPY_HEADER + hashOfHex(entry.digest)])
    list.push([REDIRECT, `/${entry.digest.slice(0, 2)}/${entry.digest.slice(2)}`])
  }
  if (isRoot) list.push([OPAQUE, 'y'])
  return list
}

function appendXattrs(annex: Annex, at: number, xattrs: readonly Xattr[]): number {
  if (xattrs.length === 0) return at
  const { bytes, u16 } = annex.image.arena
  let next = at + XATTR_HEADER
  bytes.fill(0, at, next)
  for (const [name, value] of xattrs) {
    const { prefix, suffix } = splitXattrName(name)
    const size = xattrEntryBytes(suffix.length, value.length)
    bytes.fill(0, next + size - 4, next + size) // the padding is compared and written too
    bytes[next] = suffix.length
    bytes[next + 1] = prefix
    u16[(next + 2) / 2] = value.length
    bytes.write(suffix, next + 4, 'latin1')
    bytes.write(value, next + 4 + suffix.length, 'latin1')
    next += size
  }
  annex.xattrs += xattrs.length
  return next
}

export function direntTypeOf(mode: number): number {
  return DIRENT_TYPE[(mode >> 12) & 15]
}

export function isDirectory(mode: number): boolean {
  return ((mode >> 12) & 15) === TYPE.directory
}
