import { StratumError } from '../errors/stratum-error.ts'
import { roundUp } from '../erofs/arena.ts'
import {
  BLOCK,
  BLOCK_BITS,
  CHUNK_BITS_MAX,
  COMPACT_INODE,
  DIRENT,
  DT,
  EXTENDED_INODE,
  LAYOUT,
  SLOT,
  SUPERBLOCK,
  SUPERBLOCK_BYTES,
  TYPE,
  XATTR_HEADER,
  XATTRS_SHARED_MAX,
} from '../erofs/format.ts'
import { createInode, type Inode, readInode } from '../erofs/inode.ts'
import { eachXattr, xattrBytesAt, xattrNameAt } from '../erofs/xattrs.ts'
import { DOTS, FLAG, type Slot, type Tree } from '../tree/tree.ts'
import { planSharedXattrs, type SharedXattrs, SKIPPED } from './shared-xattrs.ts'

/** Where everything goes: a function of sizes alone, known before a byte is written. */
export interface Layout {
  readonly shared: SharedXattrs
  /** The new inode number of every slot. */
  readonly node: Uint32Array
  readonly inodes: number
  /** The oldest mtime: inodes that have it can be compact. */
  readonly seconds: number
  readonly nanoseconds: number
  /** Offsets of the shared xattrs and the first block of data; bytes of the whole image. */
  readonly inodesEnd: number
  readonly dataStart: number
  readonly bytes: number
}

/** An xattr of an inode whose xattr area is put together anew; `shared` is its offset in the shared area, or -1. */
export interface PlacedXattr {
  at: number
  name: string
  shared: number
}

/** Where one inode goes. The same object is used for one after the other. */
export interface Place {
  type: number
  at: number
  headBytes: number
  xattrBytes: number
  /** Undefined where the parent's xattr area is copied. */
  xattrs: PlacedXattr[] | undefined
  size: number
  links: number
  /** Whole blocks of data, and bytes behind the inode. */
  blocks: number
  tail: number
  /** Of a file whose bytes are in an object: log2 of the chunk size, or 0. */
  chunkBits: number
}

/** Places slot after slot, in order; the same sums serve planning and writing, so nothing has to be kept of a million inodes. */
export interface Placer {
  readonly inode: Inode
  readonly place: Place
  next(slot: Slot): void
}

const FIRST_INODE = SUPERBLOCK + SUPERBLOCK_BYTES
const SMALL = 0xffff

export function planImage(tree: Tree): Layout {
  const shared = planSharedXattrs(tree)
  const oldest = oldestMtime(tree)
  const node = new Uint32Array(tree.slots)
  const placer = createPlacer(tree, shared, oldest)
  let blocks = 0
  let inodesEnd = FIRST_INODE
  for (let slot = 0; slot < tree.slots; slot++) {
    if ((tree.flag[slot] & SKIPPED) !== 0) continue
    placer.next(slot)
    const { place } = placer
    node[slot] = place.at / SLOT
    blocks += place.blocks
    inodesEnd = place.at + place.headBytes + place.xattrBytes + place.tail
  }
  numberAliases(tree, node)
  inodesEnd = roundUp(inodesEnd, SLOT)
  const dataStart = roundUp(inodesEnd + shared.bytes, BLOCK)
  const bytes = dataStart + blocks * BLOCK
  if (bytes > 2 ** 32)
    throw new StratumError('unsupported', `the image would have ${bytes} bytes; at most 4 GiB are supported`)
  return { shared, node, ...oldest, inodesEnd, dataStart, bytes }
}

/** Further names of hard links have their primary's number; `.` and `..` that of their directory and its parent. */
function numberAliases(tree: Tree, node: Uint32Array): void {
  const { first, slot: slotOf, parent } = tree.directories
  for (const [slot, primary] of tree.primary) node[slot] = node[primary]
  for (let directory = 0; directory < slotOf.length; directory++) {
    for (let slot = first[directory], dots = 2; slot < first[directory + 1] && dots > 0; slot++) {
      if ((tree.flag[slot] & FLAG.dot) === 0) continue
      node[slot] = node[slotOf[tree.node[slot] === DOTS.self ? directory : parent[directory]]]
      dots--
    }
  }
}

function oldestMtime(tree: Tree): Pick<Layout, 'seconds' | 'nanoseconds' | 'inodes'> {
  const inode = createInode()
  let seconds = Number.POSITIVE_INFINITY
  let nanoseconds = 0
  let inodes = 0
  for (let slot = 0; slot < tree.slots; slot++) {
    if ((tree.flag[slot] & SKIPPED) !== 0) continue
    inodes++
    readInode(tree.image, tree.node[slot], inode)
    if (inode.seconds > seconds || (inode.seconds === seconds && inode.nanoseconds >= nanoseconds)) continue
    seconds = inode.seconds
    nanoseconds = inode.nanoseconds
  }
  return { seconds, nanoseconds, inodes }
}

export function createPlacer(
  tree: Tree,
  shared: SharedXattrs,
  oldest: Pick<Layout, 'seconds' | 'nanoseconds'>,
): Placer {
  const inode = createInode()
  const place: Place = {
    type: 0,
    at: 0,
    headBytes: 0,
    xattrBytes: 0,
    xattrs: undefined,
    size: 0,
    links: 0,
    blocks: 0,
    tail: 0,
    chunkBits: 0,
  }
  let end = FIRST_INODE
  let directory = 0
  return {
    inode,
    place,
    next(slot) {
      readInode(tree.image, tree.node[slot], inode)
      place.type = inode.mode >> 12
      place.links = (tree.flag[slot] & FLAG.linked) === 0 ? 1 : (tree.links.get(tree.node[slot]) ?? 1)
      placeXattrs(tree, shared, slot, inode, place)
      placeData(tree, directory, inode, place)
      if (place.type === TYPE.directory) directory++
      place.headBytes = isCompact(inode, place, oldest) ? COMPACT_INODE : EXTENDED_INODE
      place.at = alignInode(roundUp(end, SLOT), place)
      if (place.type === TYPE.directory) place.size = place.blocks * BLOCK + place.tail
      end = place.at + place.headBytes + place.xattrBytes + place.tail
    },
  }
}

function isCompact(inode: Inode, place: Place, oldest: Pick<Layout, 'seconds' | 'nanoseconds'>): boolean {
  return (
    inode.seconds === oldest.seconds &&
    inode.nanoseconds === oldest.nanoseconds &&
    place.links <= SMALL &&
    inode.uid <= SMALL &&
    inode.gid <= SMALL &&
    place.size <= 0xffffffff
  )
}

function placeXattrs(tree: Tree, shared: SharedXattrs, slot: Slot, inode: Inode, place: Place): void {
  place.xattrs = undefined
  place.xattrBytes = inode.xattrBytes
  if (inode.xattrBytes === 0) return
  if (shared.rewritten[slot] === 0 && lostTwin(tree, shared, slot, inode)) shared.rewritten[slot] = 1
  if (shared.rewritten[slot] === 0) return
  const list: PlacedXattr[] = []
  eachXattr(
    tree.image,
    tree.node[slot],
    inode,
    at => void list.push({ at, name: xattrNameAt(tree.image, at), shared: -1 }),
  )
  list.sort((a, b) => (a.name < b.name ? -1 : 1))
  place.xattrBytes = XATTR_HEADER
  let ids = 0
  for (const xattr of list) {
    const offset = ids < XATTRS_SHARED_MAX ? shared.offsetOf(xattr.at) : -1
    xattr.shared = offset
    if (offset >= 0) ids++
    place.xattrBytes += offset >= 0 ? 4 : xattrBytesAt(tree.image, xattr.at)
  }
  place.xattrs = list
}

/** Whether an xattr that the parent shared has no second inode any more. */
function lostTwin({ image, node }: Tree, shared: SharedXattrs, slot: Slot, inode: Inode): boolean {
  const { bytes, u32 } = image.arena
  const area = node[slot] * SLOT + inode.headBytes
  for (let i = 0; i < bytes[area + 4]; i++)
    if (shared.offsetOfParentId(u32[((area + XATTR_HEADER) >>> 2) + i]) < 0) return true
  return false
}

function placeData(tree: Tree, directory: number, inode: Inode, place: Place): void {
  place.blocks = 0
  place.tail = 0
  place.chunkBits = 0
  place.size = place.type === TYPE.regular || place.type === TYPE.symlink ? inode.size : 0
  if (place.type === TYPE.directory) placeDirectory(tree, directory, place)
  else if (place.type === TYPE.symlink) place.tail = place.size
  else if (place.type === TYPE.regular && place.size > 0) {
    if (inode.layout === LAYOUT.chunks) placeChunks(place)
    else {
      place.blocks = Math.floor(place.size / BLOCK)
      place.tail = place.size % BLOCK
      tailToBlock(place)
    }
  }
}

/** A tail of more than half a block gets a block of its own. */
function tailToBlock(place: Place): void {
  if (place.tail <= BLOCK / 2) return
  place.blocks++
  place.tail = 0
}

function placeDirectory({ directories, nameLength, flag }: Tree, directory: number, place: Place): void {
  let used = 0
  place.links = 2
  for (let slot = directories.first[directory]; slot < directories.first[directory + 1]; slot++) {
    const bytes = DIRENT + nameLength[slot]
    if (used + bytes > BLOCK) {
      place.blocks++
      used = 0
    }
    used += bytes
    if ((flag[slot] & (FLAG.type | FLAG.dot)) === DT.directory) place.links++
  }
  place.tail = used
  tailToBlock(place)
  place.size = place.blocks * BLOCK + place.tail
}

/** The bytes are in an object; the image holds a list of empty chunks, as large and few as the format allows. */
function placeChunks(place: Place): void {
  const last = place.size - 1
  const bits = last < 2 ** 32 ? 32 - Math.clz32(last) : 64 - Math.clz32(last / 2 ** 32)
  place.chunkBits = Math.min(Math.max(bits, BLOCK_BITS), BLOCK_BITS + CHUNK_BITS_MAX)
  place.tail = Math.ceil(place.size / 2 ** place.chunkBits) * 4
}

/** Moves an inode on where its tail would cross the end of a block; a tail that fits nowhere becomes a block. */
function alignInode(at: number, place: Place): number {
  const head = place.headBytes + place.xattrBytes
  if (place.type === TYPE.symlink) {
    const whole = head + place.tail
    const crosses = Math.floor(at / BLOCK) !== Math.floor((at + whole - 1) / BLOCK)
    if (whole >= BLOCK) {
      place.blocks++
      place.tail = 0
    }
    return crosses ? roundUp(at, BLOCK) : at
  }
  const room = BLOCK - ((at + head) % BLOCK)
  if (room >= place.tail) return at
  const moved = at + roundUp(room, SLOT)
  if (place.tail <= BLOCK - ((moved + head) % BLOCK)) return moved
  place.blocks++
  place.tail = 0
  return roundUp(at, BLOCK)
}
