import type { Xattr } from '../erofs/xattrs.ts'
import type { FileAttributes } from '../tree/entry.ts'
import { malformed, shown } from './errors.ts'
import type { PaxRecords } from './pax.ts'
import { MEMBER, type TarHeader } from './tar-header.ts'
import { xattrsOf } from './tar-xattrs.ts'

/** What a tar archive says of one name, in the words of a tree. */
export interface TarMember {
  /** As it stands in the archive, latin1. */
  readonly name: string
  /** A hard link says only which file it is. */
  readonly kind: 'file' | 'link'
  readonly stat: FileAttributes
  readonly xattrs: readonly Xattr[]
  /** What a symlink holds, or the name of the file that a hard link is. */
  readonly linkName: string
  /** ACLs that name users by their names only, which mean nothing on another machine. */
  readonly lostAcl: boolean
}

const TYPE_BITS: Readonly<Record<string, number>> = {
  [MEMBER.regular]: 0o100000,
  [MEMBER.contiguous]: 0o100000,
  [MEMBER.gnuSparse]: 0o100000,
  [MEMBER.link]: 0o100000,
  [MEMBER.symlink]: 0o120000,
  [MEMBER.character]: 0o020000,
  [MEMBER.block]: 0o060000,
  [MEMBER.directory]: 0o040000,
  [MEMBER.gnuDirectory]: 0o040000,
  [MEMBER.fifo]: 0o010000,
}
const PERMISSIONS = 0o7777
const SYMLINK = 0o120777
const ID_MAX = 2 ** 32 - 2
const MAJOR_MAX = 0xfff
const MINOR_MAX = 0xfffff
const LINK_BYTES_MAX = 4095

/** @throws malformed (the caller says of which member) */
export function memberOf(header: TarHeader, pax: (key: string) => string | undefined, records: PaxRecords): TarMember {
  const { name, linkName } = header
  const type = header.type === MEMBER.regular && name.endsWith('/') ? MEMBER.directory : header.type
  const typeBits = TYPE_BITS[type]
  if (typeBits === undefined) throw malformed(`its type is ${JSON.stringify(shown(type))}, which is not known`)
  if (name.includes('\0') || linkName.includes('\0'))
    throw malformed('a zero byte is in its name or in that of its link')
  const isSymlink = type === MEMBER.symlink
  if (isSymlink && (linkName === '' || linkName.length > LINK_BYTES_MAX))
    throw malformed(`it is a symlink of ${linkName.length} bytes; it can have 1 to ${LINK_BYTES_MAX}`)
  const { seconds, nanoseconds } = timeOf(pax('mtime'), header.seconds)
  const { xattrs, lostAcl } = xattrsOf(records)
  return {
    name,
    kind: type === MEMBER.link ? 'link' : 'file',
    stat: {
      mode: isSymlink ? SYMLINK : typeBits | (header.mode & PERMISSIONS),
      links: 1,
      uid: idOf(pax('uid'), header.uid),
      gid: idOf(pax('gid'), header.gid),
      inode: 0n,
      mtimeSeconds: seconds,
      mtimeNanoseconds: nanoseconds,
      device: deviceOf(header),
    },
    xattrs,
    linkName,
    lostAcl,
  }
}

function idOf(pax: string | undefined, header: number): number {
  const id = pax === undefined ? header : /^[0-9]{1,10}$/.test(pax) ? Number(pax) : Number.NaN
  if (!(id >= 0 && id <= ID_MAX)) throw malformed('its uid or gid is no number that can be')
  return id
}

/** `1700000000.123456789`; digits behind the ninth are left out. The fraction of a time before 1970 counts down, as in `-0.5`. */
function timeOf(pax: string | undefined, header: number): { seconds: number; nanoseconds: number } {
  if (pax === undefined) return { seconds: header, nanoseconds: 0 }
  const match = /^(-?)([0-9]{1,16})(?:\.([0-9]*))?$/.exec(pax)
  if (match === null || !Number.isSafeInteger(Number(match[2]))) throw malformed('its time is no number that can be')
  const [, minus, whole, fraction = ''] = match
  const seconds = Number(whole)
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (minus === '') return { seconds, nanoseconds }
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds }
}

/** As the kernel encodes it, see `Entry.device`. */
function deviceOf({ major, minor }: TarHeader): number {
  if (!(major >= 0 && major <= MAJOR_MAX && minor >= 0 && minor <= MINOR_MAX))
    throw malformed(`its device number ${major}, ${minor} is none that can be`)
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}
