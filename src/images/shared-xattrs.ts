import { createInode, readInode } from '../erofs/inode.ts'
import { SLOT, XATTR_HEADER, XATTRS_SHARED_MAX } from '../erofs/format.ts'
import { eachXattr, PREFIX, xattrBytesAt, xattrNameAt, xattrValueAt } from '../erofs/xattrs.ts'
import { FLAG, type Slot, type Tree } from '../tree/tree.ts'

/**
 * Xattr entries that several inodes have in common stand once, behind the inodes. Which these are must be known of the whole tree before
 * anything is placed. To find out without looking at every inline xattr of an unchanged parent: an entry can only be shared now if it
 * was shared in the parent or stands in an added inode; these are the candidates.
 */
export interface SharedXattrs {
  /** Offset in the shared area of the entry that equals the one at `at`, or -1. */
  offsetOf(at: number): number
  /** The same for a parent's shared id. */
  offsetOfParentId(id: number): number
  /** Offsets in the arena of the shared entries, in the order of the shared area. */
  readonly entries: readonly number[]
  readonly bytes: number
  /** Slots whose inode's xattr area cannot be copied as it is. */
  readonly rewritten: Uint8Array
  readonly hasAcl: boolean
}

export const SKIPPED = FLAG.dot | FLAG.alias

export function planSharedXattrs(tree: Tree): SharedXattrs {
  const candidates = createCandidates(tree)
  const rewritten = new Uint8Array(tree.slots)
  const acl = { found: false }
  countCandidates(tree, candidates, rewritten)
  countTwins(tree, candidates, rewritten, acl)
  const { entries, offsets, bytes } = placeShared(tree, candidates)
  return {
    offsetOf: at => {
      const candidate = candidates.find(at)
      return candidate < 0 ? -1 : offsets[candidate]
    },
    offsetOfParentId: id => offsets[candidates.ofParentId(id)],
    entries,
    bytes,
    rewritten,
    hasAcl: acl.found || candidates.at.some((at, i) => candidates.count[i] > 0 && isAcl(tree, at)),
  }
}

function isAcl({ image }: Tree, at: number): boolean {
  const prefix = image.arena.bytes[at + 1]
  return prefix === PREFIX.accessAcl || prefix === PREFIX.defaultAcl
}

interface Candidates {
  /** Offsets of the entries and how many inodes have each. */
  readonly at: number[]
  readonly count: number[]
  /** The candidate that equals the entry at `at`, or -1. */
  find(at: number): number
  findOrAdd(at: number): number
  ofParentId(id: number): number
}

const MULTIPLIER = 0x9e3779b1
const FILTER_SLOTS = 1 << 16

function createCandidates({ image, addedXattrs }: Tree): Candidates {
  const { u32 } = image.arena
  const at: number[] = []
  const count: number[] = []
  const next: number[] = []
  const parentIds = new Map<number, number>()
  const heads = new Int32Array(2 ** Math.max(12, Math.ceil(Math.log2(addedXattrs * 2 + 1)))).fill(-1)
  // Nearly every inline xattr of an unchanged inode is no candidate: a look at three of its words tells.
  const filter = new Uint8Array(FILTER_SLOTS)
  const lookup = (p: number, bytes: number, hash: number): number => {
    let i = heads[hash]
    while (i >= 0 && at[i] !== p && !equalWords(u32, at[i], p, bytes)) i = next[i]
    return i
  }
  const findOrAdd = (p: number): number => {
    const bytes = xattrBytesAt(image, p)
    const hash = hashWords(u32, p, bytes) & (heads.length - 1)
    const found = lookup(p, bytes, hash)
    if (found >= 0) return found
    filter[hashThreeWords(u32, p, bytes)] = 1
    at.push(p)
    count.push(0)
    next.push(heads[hash])
    heads[hash] = at.length - 1
    return at.length - 1
  }
  return {
    at,
    count,
    findOrAdd,
    find(p) {
      const bytes = xattrBytesAt(image, p)
      if (filter[hashThreeWords(u32, p, bytes)] === 0) return -1
      return lookup(p, bytes, hashWords(u32, p, bytes) & (heads.length - 1))
    },
    ofParentId(id) {
      let candidate = parentIds.get(id)
      if (candidate === undefined) parentIds.set(id, (candidate = findOrAdd(image.xattrBase + id * 4)))
      return candidate
    },
  }
}

/** Of the first, middle and last word, below FILTER_SLOTS. */
function hashThreeWords(u32: Uint32Array, at: number, bytes: number): number {
  const first = at >>> 2
  const last = first + (bytes >>> 2) - 1
  const ends = Math.imul(u32[last] ^ Math.imul(u32[(first + last) >>> 1], 31), MULTIPLIER)
  return (Math.imul(u32[first], MULTIPLIER) ^ ends) >>> 16
}

function hashWords(u32: Uint32Array, at: number, bytes: number): number {
  let hash = bytes
  for (let word = at >>> 2; word < (at + bytes) >>> 2; word++) {
    hash = Math.imul(hash ^ u32[word], MULTIPLIER)
    hash ^= hash >>> 15
  }
  return hash
}

function equalWords(u32: Uint32Array, p: number, q: number, bytes: number): boolean {
  for (let word = 0; word < bytes >>> 2; word++) if (u32[(p >>> 2) + word] !== u32[(q >>> 2) + word]) return false
  return true
}

/**
 * Counts what added inodes have and what unchanged ones shared in the parent. One that refers to as many as it may has others of the shared
 * area beside it, to which perhaps nobody refers: all that it has is counted too.
 */
function countCandidates(tree: Tree, candidates: Candidates, rewritten: Uint8Array): void {
  const { image, slots, flag, node } = tree
  const { u32, bytes } = image.arena
  const inode = createInode()
  for (let slot = 0; slot < slots; slot++) {
    if ((flag[slot] & SKIPPED) !== 0) continue
    readInode(image, node[slot], inode)
    const area = node[slot] * SLOT + inode.headBytes
    const shared = inode.xattrBytes > 0 ? bytes[area + 4] : 0
    if (node[slot] >= image.firstAdded || shared === XATTRS_SHARED_MAX) {
      rewritten[slot] = 1
      eachXattr(image, node[slot], inode, at => void candidates.count[candidates.findOrAdd(at)]++)
    } else {
      const ids = (area + XATTR_HEADER) >>> 2
      for (let i = 0; i < shared; i++) candidates.count[candidates.ofParentId(u32[ids + i])]++
    }
  }
}

/** Counts the inline xattrs of unchanged inodes that equal a candidate: they are shared from now on. */
function countTwins(tree: Tree, candidates: Candidates, rewritten: Uint8Array, acl: { found: boolean }): void {
  const { image, slots, flag, node } = tree
  const { bytes } = image.arena
  const inode = createInode()
  for (let slot: Slot = 0; slot < slots; slot++) {
    if ((flag[slot] & SKIPPED) !== 0 || rewritten[slot] === 1) continue
    readInode(image, node[slot], inode)
    if (inode.xattrBytes === 0) continue
    const area = node[slot] * SLOT + inode.headBytes
    const end = area + inode.xattrBytes
    for (let at = area + XATTR_HEADER + bytes[area + 4] * 4; at < end; at += xattrBytesAt(image, at)) {
      if (isAcl(tree, at)) acl.found = true
      const candidate = candidates.find(at)
      if (candidate < 0) continue
      candidates.count[candidate]++
      rewritten[slot] = 1
    }
  }
}

/** The shared area as composefs orders it: by name, longer values first, by value, each descending. */
function placeShared(
  { image }: Tree,
  { at, count }: Candidates,
): { entries: number[]; offsets: number[]; bytes: number } {
  const shared = at.flatMap((entry, candidate) =>
    count[candidate] > 1
      ? [{ candidate, entry, name: xattrNameAt(image, entry), value: xattrValueAt(image, entry) }]
      : [],
  )
  shared.sort((a, b) => {
    if (a.name !== b.name) return a.name < b.name ? 1 : -1
    if (a.value.length !== b.value.length) return b.value.length - a.value.length
    return a.value < b.value ? 1 : -1
  })
  const offsets = at.map(() => -1)
  let bytes = 0
  for (const { candidate, entry } of shared) {
    offsets[candidate] = bytes
    bytes += xattrBytesAt(image, entry)
  }
  return { entries: shared.map(({ entry }) => entry), offsets, bytes }
}
