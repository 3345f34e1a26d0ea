import { damaged, type Image, latin1, type NodeId } from './arena.ts'
import { SLOT, XATTR_HEADER } from './format.ts'
import type { Inode } from './inode.ts'
import { xxh32 } from './xxh32.ts'

/** A name or value of an xattr, a character for each byte. */
export type Xattr = readonly [name: string, value: string]

/** Name prefixes by their number on disk; a name without one has number 0. */
const PREFIXES: readonly (readonly [number, string])[] = [
  [1, 'user.'],
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
  [4, 'trusted.'],
  [6, 'security.'],
]
const PREFIX_OF: readonly string[] = [
  '',
  'user.',
  'system.posix_acl_access',
  'system.posix_acl_default',
  'trusted.',
  '',
  'security.',
]
export const PREFIX = { accessAcl: 2, defaultAcl: 3, trusted: 4 } as const
const FILTER_SEED = 0x25bbe08f

/** What composefs keeps in xattrs of its own; a user's names below `trusted.overlay.` are stored one level deeper. */
export const OVERLAY = 'trusted.overlay.'
export const OVERLAY_ESCAPED = 'trusted.overlay.overlay.'
export const METACOPY = `${OVERLAY}metacopy`
export const REDIRECT = `${OVERLAY}redirect`
export const OPAQUE = `${OVERLAY}opaque`
/** Before the digest in the metacopy xattr: version, length, flags, algorithm SHA-256. */
export const METACOPY_HEADER = '\x00\x24\x00\x01'
const METACOPY_BYTES = METACOPY_HEADER.length + 32

/** The number of a name's prefix and the rest of the name. */
export function splitXattrName(name: string): { prefix: number; suffix: string } {
  for (const [prefix, text] of PREFIXES) if (name.startsWith(text)) return { prefix, suffix: name.slice(text.length) }
  return { prefix: 0, suffix: name }
}

/** The bit of the inode's name filter that says that a name may be there (EROFS: xattr filter). */
export function xattrFilterBit(prefix: number, suffix: Uint8Array): number {
  return xxh32(suffix, (FILTER_SEED + prefix) >>> 0) & 31
}

/** Bytes of an entry with a suffix and value of these lengths. */
export function xattrEntryBytes(suffixBytes: number, valueBytes: number): number {
  return (4 + suffixBytes + valueBytes + 3) & ~3
}

/** Bytes of the entry at this offset. */
export function xattrBytesAt(image: Image, at: number): number {
  return xattrEntryBytes(image.arena.bytes[at], image.arena.u16[(at >>> 1) + 1])
}

export function xattrNameAt(image: Image, at: number): string {
  const { bytes } = image.arena
  const prefix = PREFIX_OF[bytes[at + 1]]
  if (prefix === undefined) throw damaged(`there is no xattr at ${at}`)
  return prefix + latin1(image.arena, at + 4, bytes[at])
}

export function xattrValueAt(image: Image, at: number): string {
  const { bytes, u16 } = image.arena
  const value = at + 4 + bytes[at]
  return latin1(image.arena, value, u16[(at >>> 1) + 1])
}

/** What the length field of an inode can say at most, and what one entry can have: name, value and their lengths. */
export const XATTR_AREA_BYTES_MAX = 8 + 0xffff * 4
export const XATTR_BYTES_MAX = 4 + 0xff + 0xffff + 3

/** Calls `each` with the offset of every xattr entry of an inode that was just read, shared ones first. */
export function eachXattr(image: Image, node: NodeId, inode: Inode, each: (at: number) => void): void {
  if (inode.xattrBytes === 0) return
  const { bytes } = image.arena
  const area = node * SLOT + inode.headBytes
  const end = area + inode.xattrBytes
  eachSharedXattr(image, node, inode, at => {
    if (at + 4 > bytes.length || at + xattrBytesAt(image, at) > bytes.length)
      throw damaged(`an xattr of inode ${node} is missing`)
    each(at)
  })
  for (let at = area + XATTR_HEADER + bytes[area + 4] * 4, next = 0; at < end; at = next) {
    next = at + xattrBytesAt(image, at)
    if (next > end) throw damaged(`an xattr of inode ${node} is cut`)
    each(at)
  }
}

/** Calls `each` with the offset of every entry in the shared area that an inode refers to, without looking at it. */
export function eachSharedXattr(image: Image, node: NodeId, inode: Inode, each: (at: number) => void): void {
  if (inode.xattrBytes === 0) return
  const { bytes, u32 } = image.arena
  const area = node * SLOT + inode.headBytes
  const ids = area + XATTR_HEADER
  if (ids + bytes[area + 4] * 4 > area + inode.xattrBytes) throw damaged(`inode ${node} has fewer xattrs than it says`)
  for (let i = 0; i < bytes[area + 4]; i++) each(image.xattrBase + u32[(ids >>> 2) + i] * 4)
}

const META = 0x6174656d // "meta", the second word of overlay.metacopy's suffix behind "over" and "lay."
const REDI = 0x69646572
const OPAQ = 0x7161706f
const OVER = 0x7265766f

/** Which of composefs' own xattrs an entry is, told from its bytes without making a string. */
export function overlayXattrAt(image: Image, at: number): 'metacopy' | 'redirect' | 'opaque' | undefined {
  const { bytes, u32 } = image.arena
  const word = at >>> 2
  if (bytes[at + 1] !== PREFIX.trusted || u32[word + 1] !== OVER) return undefined
  const kind = u32[word + 3]
  if (bytes[at] === 16) return kind === META ? 'metacopy' : kind === REDI ? 'redirect' : undefined
  return bytes[at] === 14 && kind === OPAQ ? 'opaque' : undefined
}

/** The offset of the 32-byte digest of the object that a regular file's inode names, or -1. */
export function digestAt(image: Image, node: NodeId, inode: Inode): number {
  let found = -1
  eachXattr(image, node, inode, at => {
    if (overlayXattrAt(image, at) !== 'metacopy') return
    if (image.arena.u16[(at >>> 1) + 1] !== METACOPY_BYTES) throw damaged(`inode ${node} has no digest`)
    found = at + 4 + 16 + METACOPY_HEADER.length
  })
  return found
}

/** The xattrs that the user sees, sorted by name: composefs' own left out, escaped names as they were. */
export function userXattrs(image: Image, node: NodeId, inode: Inode): Xattr[] {
  const list: Xattr[] = []
  eachXattr(image, node, inode, at => {
    if (overlayXattrAt(image, at) === undefined)
      list.push([unescapeXattrName(xattrNameAt(image, at)), xattrValueAt(image, at)])
  })
  return list.sort(byName)
}

export function escapeXattrName(name: string): string {
  return name.startsWith(OVERLAY) ? OVERLAY_ESCAPED + name.slice(OVERLAY.length) : name
}

export function unescapeXattrName(name: string): string {
  return name.startsWith(OVERLAY_ESCAPED) ? OVERLAY + name.slice(OVERLAY_ESCAPED.length) : name
}

function byName([a]: Xattr, [b]: Xattr): number {
  return a < b ? -1 : a > b ? 1 : 0
}
