import { damaged, type Image, latin1, type NodeId } from './arena.ts'
import {
  BLOCK,
  COMPACT_INODE,
  CONTENT_BYTES_MAX,
  DIRENT_TYPE,
  EXTENDED_INODE,
  LAYOUT,
  SLOT,
  SYMLINK_BYTES_MAX,
  TYPE,
} from './format.ts'

/** The fields of one inode. Readers of many inodes pass the same object again and again. */
export interface Inode {
  mode: number
  /** Bytes. */
  size: number
  links: number
  uid: number
  gid: number
  seconds: number
  nanoseconds: number
  /** First block, device number or chunk format, as the type and layout say. */
  raw: number
  layout: number
  /** Bytes of the inode itself: 32 or 64. */
  headBytes: number
  /** Bytes of its xattr area. */
  xattrBytes: number
}

export function createInode(): Inode {
  return {
    mode: 0,
    size: 0,
    links: 0,
    uid: 0,
    gid: 0,
    seconds: 0,
    nanoseconds: 0,
    raw: 0,
    layout: 0,
    headBytes: 0,
    xattrBytes: 0,
  }
}

/** @throws integrity where no inode can be */
export function readInode(image: Image, node: NodeId, into: Inode): Inode {
  const { u16, u32 } = image.arena
  const half = node * (SLOT / 2)
  const word = node * (SLOT / 4)
  const format = u16[half]
  const xattrWords = u16[half + 1]
  into.layout = (format >> 1) & 7
  into.xattrBytes = xattrWords === 0 ? 0 : 8 + xattrWords * 4
  into.mode = u16[half + 2]
  into.raw = u32[word + 4]
  if (format & 1) {
    into.headBytes = EXTENDED_INODE
    into.size = u32[word + 2] + u32[word + 3] * 2 ** 32
    into.uid = u32[word + 6]
    into.gid = u32[word + 7]
    into.seconds = u32[word + 8] + (u32[word + 9] | 0) * 2 ** 32
    into.nanoseconds = u32[word + 10]
    into.links = u32[word + 11]
  } else {
    into.headBytes = COMPACT_INODE
    into.size = u32[word + 2]
    into.uid = u16[half + 12]
    into.gid = u16[half + 13]
    into.seconds = image.seconds
    into.nanoseconds = image.nanoseconds
    into.links = u16[half + 3]
  }
  checkInode(image, node, into)
  return into
}

/** What was read from behind the end is undefined, and compares with nothing. */
function checkInode({ arena }: Image, node: NodeId, { mode, size, layout, headBytes, xattrBytes }: Inode): void {
  const type = mode >> 12
  const isInside = node * SLOT + headBytes + xattrBytes <= arena.bytes.length
  if (!isInside || !(DIRENT_TYPE[type] > 0)) throw damaged(`there is no inode ${node}`)
  if (type === TYPE.symlink && size > SYMLINK_BYTES_MAX) throw damaged(`the target of symlink ${node} is too long`)
  if (type === TYPE.regular && layout !== LAYOUT.chunks && size > CONTENT_BYTES_MAX)
    throw damaged(`file ${node} is too large to be in an image`)
}

/** The number of names of a node, as the image that it came from has it. */
export function storedLinks(image: Image, node: NodeId): number {
  const { u16, u32 } = image.arena
  return u16[node * 16] & 1 ? u32[node * 8 + 11] : u16[node * 16 + 3]
}

/** Calls `each` with the offset and length of every piece of the node's own data: whole blocks first, then the tail behind the inode. */
export function eachPiece(image: Image, node: NodeId, inode: Inode, each: (at: number, length: number) => void): void {
  const { size, layout, raw, headBytes, xattrBytes } = inode
  if (layout === LAYOUT.chunks) return
  const whole = layout === LAYOUT.inline ? size - (size % BLOCK) : size
  const tailAt = node * SLOT + headBytes + xattrBytes
  const end = Math.max(whole > 0 ? raw * BLOCK + whole : 0, size > whole ? tailAt + size - whole : 0)
  if (end > image.arena.bytes.length) throw damaged(`the data of inode ${node} reach behind its end`)
  for (let done = 0; done < whole; done += BLOCK) each(raw * BLOCK + done, Math.min(BLOCK, whole - done))
  if (size > whole) each(tailAt, size - whole)
}

/** The node's own data (a symlink's target, a small file's content) as one latin1 string: a character for each byte. */
export function readData(image: Image, node: NodeId, inode: Inode): string {
  let data = ''
  eachPiece(image, node, inode, (at, length) => {
    data += latin1(image.arena, at, length)
  })
  return data
}
