import type { NodeId } from '../erofs/arena.ts'
import type { Xattr } from '../erofs/xattrs.ts'
import type { Digest } from '../hashes/verity.ts'

/** One file, directory, link or device as it is to be stored. Text that is bytes is latin1: a character for each byte. */
export interface Entry {
  /** st_mode: type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly seconds: number
  readonly nanoseconds: number
  /** Bytes of a regular file; 0 for everything else. */
  readonly size: number
  /** The object that holds a regular file's bytes; undefined where they are in `data`. */
  readonly digest: Digest | undefined
  /** A symlink's target, or all bytes of a regular file of up to 64. */
  readonly data: string
  /** Device number as the kernel encodes it: minor's low 8 bits, 12 bits of major, the rest of minor. */
  readonly device: number
  /** As the user sees them, in any order. */
  readonly xattrs: readonly Xattr[]
  /** More than one name may carry this very object: such names are hard links of one inode. */
  readonly linked: boolean
}

/** An empty directory of root, open to read, of the year 1970: what a new label begins with, and what an archive does not speak of. */
export const PLAIN_DIRECTORY: Entry = {
  mode: 0o040755,
  uid: 0,
  gid: 0,
  seconds: 0,
  nanoseconds: 0,
  size: 0,
  digest: undefined,
  data: '',
  device: 0,
  xattrs: [],
  linked: false,
}

/**
 * What happens to one name of the parent's tree, and below it.
 * - `entry` null: the name is gone.
 * - `entry`: the name is this. For a directory, its children come from the parent's directory of the same name, if there is one,
 *   or from `from`; 0 means that it begins empty.
 * - no `entry`, `from`: the node of the parent, as it is.
 * - neither: the directory stays as it is, and something below it changes.
 */
export interface Change {
  entry?: Entry | null
  from?: NodeId
  children?: Map<string, Change>
}

/** What stat(2) tells of a file that goes into a tree. */
export interface FileAttributes {
  readonly mode: number
  readonly links: number
  readonly uid: number
  readonly gid: number
  readonly inode: bigint
  readonly mtimeSeconds: number
  readonly mtimeNanoseconds: number
  readonly device: number
}

/** The bytes of a regular file as they were stored: in the image itself, or as an object. */
export interface Content {
  readonly size: number
  readonly digest: Digest | undefined
  /** All bytes, in latin1, of a file that is small enough; a symlink's target. */
  readonly data: string
}

/** Files of up to this many bytes live in the image, as mkcomposefs does. */
export const INLINE_BYTES_MAX = 64

/**
 * Directories may lie so deep inside each other, or a walk would need more stack than there is. Paths that programs can use end at 4,096
 * bytes, which is about as many.
 */
export const DEPTH_MAX = 2_000

/** The change of the name below `change`, made when it is missing. */
export function childChange(change: Change, name: string): Change {
  change.children ??= new Map()
  let child = change.children.get(name)
  if (child === undefined) {
    child = {}
    change.children.set(name, child)
  }
  return child
}
