import { type Image, latin1, type NodeId } from '../erofs/arena.ts'

/** The number of a name: names stand breadth-first, the root first, siblings by bytes, `.` and `..` and hidden names included. */
export type Slot = number

/**
 * A whole tree without an object for each entry: the bytes of its parent's image with the added inodes behind them, and four columns
 * with a place for each name. (One object for each of a million entries takes two gigabytes; this takes its image's size and 10 bytes
 * a name.)
 */
export interface Tree {
  readonly image: Image
  /** Xattr entries among the added inodes. */
  readonly addedXattrs: number
  readonly slots: number
  readonly nameAt: Uint32Array
  readonly nameLength: Uint8Array
  /** The inode; for `.` and `..` a constant of DOTS. */
  readonly node: Uint32Array
  /** Dirent type and FLAGs. */
  readonly flag: Uint8Array
  readonly directories: Directories
  /** Names of an inode that has more than one. */
  readonly links: ReadonlyMap<NodeId, number>
  /** A further name of a hard link → its first name in depth-first order. */
  readonly primary: ReadonlyMap<Slot, Slot>
}

/** A column for each directory, in the order of their slots; `first` has one more, the end of the last. */
export interface Directories {
  readonly slot: Uint32Array
  /** The first of its names. */
  readonly first: Uint32Array
  /** The number of the first directory inside it. */
  readonly down: Uint32Array
  readonly parent: Uint32Array
}

export const FLAG = {
  /** The low three bits are the type. */
  type: 7,
  /** `.` or `..` */
  dot: 8,
  /** One of the whiteouts that hide the object store's folders. */
  hiding: 16,
  /** Its inode may have more than one name. */
  linked: 64,
  /** A further name of a hard link. */
  alias: 128,
  /** Not an entry of the user's tree. */
  notEntry: 8 | 16,
} as const

export const DOTS = { self: 1, parent: 2 } as const

export function nameOf(tree: Tree, slot: Slot): string {
  return latin1(tree.image.arena, tree.nameAt[slot], tree.nameLength[slot])
}

/** The slots from below the root down to this one. */
export function slotChain(directories: Directories, slot: Slot): Slot[] {
  const chain: Slot[] = []
  for (let at = slot; at !== 0; at = directories.slot[directoryOf(directories, at)]) chain.unshift(at)
  return chain
}

export function pathOf(tree: Tree, slot: Slot): string {
  return slotChain(tree.directories, slot)
    .map(at => nameOf(tree, at))
    .join('/')
}

/** The number of the directory that a name is in. */
function directoryOf({ first }: Directories, slot: Slot): number {
  let low = 0
  let high = first.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (first[middle] <= slot) low = middle
    else high = middle
  }
  return low
}
