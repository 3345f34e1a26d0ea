import type { Xattr } from '../erofs/xattrs.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import { type Content, DEPTH_MAX, type Entry, type FileAttributes } from './entry.ts'

/**
 * Limits of what an image can hold (docs/format.md 5); what is beyond them is refused by path, never stored as something else. composefs
 * allows an inode 32,767 bytes of xattrs, of which its own two of a file take 161.
 */
const XATTR_SET_BYTES_MAX = 32_767 - 161
const XATTR_ENTRY_BYTES = 7
const XATTR_HEADER_BYTES = 12
const XATTR_NAMES = /^(user\.|trusted\.|security\.|system\.posix_acl_(access|default)$)/
const TYPE = 0o170000
const DIRECTORY = 0o040000
const REGULAR = 0o100000
const BLOCK = 0o060000
const CHARACTER = 0o020000

/** Everything of a file but its bytes. */
interface Attributes {
  readonly stat: FileAttributes
  readonly xattrs: readonly Xattr[]
  /** For messages. */
  readonly path: string
}

export function entryOf({ stat, xattrs, path }: Attributes, content: Content | undefined, linked: boolean): Entry {
  const type = stat.mode & TYPE
  if (type === CHARACTER && stat.device === 0) {
    throw new StratumError(
      'unsupported',
      `${toUser(path)} is a character device 0/0, which an overlay shows as a missing file: it cannot be stored`,
    )
  }
  if (type === DIRECTORY) checkDepth(path)
  if (!Number.isSafeInteger(stat.mtimeSeconds))
    throw new StratumError('unsupported', `${toUser(path)} has a modification time that cannot be stored exactly`)
  return {
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    seconds: stat.mtimeSeconds,
    nanoseconds: stat.mtimeNanoseconds,
    size: type === REGULAR ? (content?.size ?? 0) : 0,
    digest: content?.digest,
    data: content?.data ?? '',
    device: type === BLOCK || type === CHARACTER ? stat.device : 0,
    xattrs: checkXattrs(xattrs, path),
    linked,
  }
}

/** To be asked before a walk goes down into a directory. @throws unsupported */
export function checkDepth(path: string): void {
  let depth = 1
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) depth++
  if (depth > DEPTH_MAX) {
    throw new StratumError(
      'unsupported',
      `${toUser(path.slice(0, 100))}… lies in more than ${DEPTH_MAX} directories, one inside the other`,
    )
  }
}

/** The xattrs that an image can hold. Names of a file system's own (btrfs., system.) are not part of a tree. */
function checkXattrs(xattrs: readonly Xattr[], path: string): readonly Xattr[] {
  if (xattrs.length === 0) return xattrs
  const kept = xattrs.filter(([name]) => XATTR_NAMES.test(name))
  let bytes = XATTR_HEADER_BYTES
  for (const [name, value] of kept) bytes += XATTR_ENTRY_BYTES + name.length + value.length
  if (bytes > XATTR_SET_BYTES_MAX) {
    throw new StratumError(
      'unsupported',
      `the extended attributes of ${toUser(path)} have ${bytes} bytes together; an image holds at most ${XATTR_SET_BYTES_MAX}`,
    )
  }
  return kept
}
