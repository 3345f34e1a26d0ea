import { StratumError } from '../errors/stratum-error.ts'

/**
 * Reads an image by the documentation of EROFS (erofs.rst, erofs_fs.h) and nothing else: what checks the store shares no code with what
 * fills it. Images may be damaged or made by an enemy: everything is bounded by the file, and what lies outside is a RangeError or a
 * finding. Names and values are latin1.
 */
export interface CheckedImage {
  readonly bytes: Buffer
  readonly root: number
  readonly metaAt: number
  readonly xattrAt: number
  readonly seconds: bigint
  readonly nanoseconds: number
}

export interface CheckedNode {
  readonly number: number
  /** st_mode >> 12. */
  readonly type: number
  readonly permissions: number
  readonly size: number
  readonly links: number
  readonly uid: number
  readonly gid: number
  readonly seconds: bigint
  readonly nanoseconds: number
  /** Block address or device number. */
  readonly raw: number
  readonly layout: number
  /** Offset of its xattrs, 0 if it has none; and of the data behind it. */
  readonly xattrAt: number
  readonly tailAt: number
}

export interface CheckedName {
  readonly name: string
  readonly number: number
  /** As directory entries say it: 1 regular, 2 directory, 3 character, 4 block, 5 fifo, 6 socket, 7 symlink. */
  readonly type: number
}

const BLOCK = 4096
const SLOT = 32
const SUPER = 1024
const FLAT = 0
const INLINE = 2
const DIRENT = 12

export function malformed(what: string): StratumError {
  return new StratumError('integrity', `the image is damaged: ${what}`)
}

export function openCheckedImage(bytes: Buffer): CheckedImage {
  if (bytes.length < BLOCK || bytes.length % BLOCK !== 0) throw malformed(`it has ${bytes.length} bytes`)
  if (bytes.readUInt32LE(0) !== 0xd078629a) throw malformed('it has no composefs header')
  if (bytes.readUInt32LE(SUPER) !== 0xe0f5e1e2) throw malformed('it has no EROFS superblock')
  if (bytes[SUPER + 12] !== 12) throw malformed('its blocks have another size')
  return {
    bytes,
    root: bytes.readUInt16LE(SUPER + 14),
    seconds: bytes.readBigInt64LE(SUPER + 24),
    nanoseconds: bytes.readUInt32LE(SUPER + 32),
    metaAt: bytes.readUInt32LE(SUPER + 40) * BLOCK,
    xattrAt: bytes.readUInt32LE(SUPER + 44) * BLOCK,
  }
}

export function readNode({ bytes, metaAt, seconds, nanoseconds }: CheckedImage, number: number): CheckedNode {
  const at = metaAt + number * SLOT
  const format = bytes.readUInt16LE(at)
  const isLong = (format & 1) === 1
  const count = bytes.readUInt16LE(at + 2)
  const xattrBytes = count === 0 ? 0 : 12 + (count - 1) * 4
  const mode = bytes.readUInt16LE(at + 4)
  const end = at + (isLong ? 64 : 32)
  return {
    number,
    type: mode >> 12,
    permissions: mode & 0o7777,
    size: isLong ? Number(bytes.readBigUInt64LE(at + 8)) : bytes.readUInt32LE(at + 8),
    links: isLong ? bytes.readUInt32LE(at + 44) : bytes.readUInt16LE(at + 6),
    uid: isLong ? bytes.readUInt32LE(at + 24) : bytes.readUInt16LE(at + 24),
    gid: isLong ? bytes.readUInt32LE(at + 28) : bytes.readUInt16LE(at + 26),
    seconds: isLong ? bytes.readBigInt64LE(at + 32) : seconds,
    nanoseconds: isLong ? bytes.readUInt32LE(at + 40) : nanoseconds,
    raw: bytes.readUInt32LE(at + 16),
    layout: (format >> 1) & 7,
    xattrAt: xattrBytes === 0 ? 0 : end,
    tailAt: end + xattrBytes,
  }
}

/** The bytes that an inode has in the image itself. */
export function readContent(image: CheckedImage, node: CheckedNode): Buffer {
  if (node.layout !== FLAT && node.layout !== INLINE) throw malformed(`inode ${node.number} has no data here`)
  const whole = node.layout === INLINE ? node.size - (node.size % BLOCK) : node.size
  return Buffer.concat([
    part(image, node.raw * BLOCK, whole, node.number),
    part(image, node.tailAt, node.size - whole, node.number),
  ])
}

function part({ bytes }: CheckedImage, at: number, length: number, number: number): Buffer {
  if (length > 0 && at + length > bytes.length) throw malformed(`data of inode ${number} lie behind its end`)
  return bytes.subarray(at, at + length)
}

/** All names of a directory with `.` and `..`, block after block. */
export function readNames(image: CheckedImage, node: CheckedNode): CheckedName[] {
  const content = readContent(image, node)
  const names: CheckedName[] = []
  for (let at = 0; at < content.length; at += BLOCK) readNameBlock(content.subarray(at, at + BLOCK), names, node.number)
  return names
}

function readNameBlock(block: Buffer, names: CheckedName[], directory: number): void {
  const count = block.readUInt16LE(8) / DIRENT
  for (let i = 0; i < count; i++) {
    const at = i * DIRENT
    const start = block.readUInt16LE(at + 8)
    const limit = i + 1 < count ? block.readUInt16LE(at + DIRENT + 8) : block.length
    if (start >= limit || limit > block.length) throw malformed(`a name in directory ${directory} has no bytes`)
    const zero = block.indexOf(0, start)
    const name = block.toString('latin1', start, zero < 0 ? limit : Math.min(zero, limit))
    names.push({ name, number: Number(block.readBigUInt64LE(at)), type: block[at + 10] })
  }
}

const PREFIX: readonly string[] = [
  '',
  'user.',
  'system.posix_acl_access',
  'system.posix_acl_default',
  'trusted.',
  '',
  'security.',
]

/** The xattrs as they stand in the image. */
export function readXattrs(image: CheckedImage, { xattrAt, tailAt }: CheckedNode): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>()
  if (xattrAt === 0) return xattrs
  const { bytes } = image
  const shared = bytes.readUInt8(xattrAt + 4)
  const own = xattrAt + 12 + shared * 4
  for (let at = xattrAt + 12; at < own; at += 4) readXattr(bytes, image.xattrAt + bytes.readUInt32LE(at) * 4, xattrs)
  for (let at = own; at < tailAt; ) at += readXattr(bytes, at, xattrs)
  return xattrs
}

/** Returns how many bytes the entry has. */
function readXattr(bytes: Buffer, at: number, into: Map<string, Buffer>): number {
  const nameEnd = at + 4 + bytes.readUInt8(at)
  const end = nameEnd + bytes.readUInt16LE(at + 2)
  if (end > bytes.length) throw malformed('an xattr lies behind its end')
  into.set(PREFIX[bytes[at + 1]] + bytes.toString('latin1', at + 4, nameEnd), bytes.subarray(nameEnd, end))
  return (end - at + 3) & ~3
}
