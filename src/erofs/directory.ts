import { damaged, type Image, latin1, type NodeId } from './arena.ts'
import { DIRENT, DIRENT_TYPE, DT, NAME_BYTES_MAX, SLOT, TYPE } from './format.ts'
import { createInode, eachPiece, readInode } from './inode.ts'

/** Is called with the offset and length of a name, the node it names and the type byte of the entry. */
export type EachName = (nameAt: number, nameLength: number, node: NodeId, type: number) => void

const inode = createInode()

/**
 * Calls `each` for every entry of a directory in the order of the image (by bytes), `.`, `..` and the hidden names of the root included.
 * @throws integrity for a node that is no directory, and for one inside itself
 */
export function eachName(image: Image, directory: NodeId, each: EachName): void {
  const { bytes, u16, u32 } = image.arena
  if (readInode(image, directory, inode).mode >> 12 !== TYPE.directory)
    throw damaged(`inode ${directory} is no directory`)
  eachPiece(image, directory, inode, (block, length) => {
    const count = u16[(block + 8) >>> 1] / DIRENT
    if (!Number.isInteger(count) || count === 0 || count * DIRENT >= length)
      throw damaged(`directory ${directory} has a block without names`)
    for (let i = 0, nameAt = count * DIRENT; i < count; i++) {
      const entry = block + i * DIRENT
      const end = i + 1 < count ? u16[(entry + DIRENT + 8) >>> 1] : lastNameEnd(bytes, block, nameAt, length)
      if (end <= nameAt || end > length || end - nameAt > NAME_BYTES_MAX)
        throw damaged(`directory ${directory} has a name that is none`)
      const node = u32[entry >>> 2]
      const type = bytes[entry + 10]
      if (type !== DIRENT_TYPE[u16[node * (SLOT / 2) + 2] >> 12])
        throw damaged(`directory ${directory} has a name of another type than its inode`)
      // Inodes stand breadth-first, so a directory comes behind the one that it is in. That makes every walk end.
      if (type === DT.directory && node <= directory && !isDot(image, block + nameAt, end - nameAt))
        throw damaged(`directory ${directory} holds one that stands before it`)
      each(block + nameAt, end - nameAt, node, type)
      nameAt = end
    }
  })
}

/** The last name of a block ends at a zero byte or with the block. */
function lastNameEnd(bytes: Buffer, block: number, nameAt: number, length: number): number {
  let end = nameAt + 1
  while (end < length && bytes[block + end] !== 0) end++
  return end
}

/** Whether a directory entry is `.` or `..`. */
export function isDot(image: Image, nameAt: number, nameLength: number): boolean {
  const { bytes } = image.arena
  return bytes[nameAt] === 0x2e && (nameLength === 1 || (nameLength === 2 && bytes[nameAt + 1] === 0x2e))
}

/** Whether an entry of the root is one of the 256 whiteouts that hide the folders of the object store. */
export function isHiding(image: Image, node: NodeId, type: number): boolean {
  return type === DT.character && image.arena.u32[node * 8 + 4] === 0
}

/** The names that a user sees in a directory: without `.`, `..` and the hidden whiteouts. Names are latin1: a character for each byte. */
export function eachEntry(
  image: Image,
  directory: NodeId,
  each: (name: string, node: NodeId, type: number) => void,
): void {
  eachName(image, directory, (at, length, node, type) => {
    if (isDot(image, at, length)) return
    if (directory === image.root && isHiding(image, node, type)) return
    each(latin1(image.arena, at, length), node, type)
  })
}

/** The node of a path below the root (`''` is the root itself; parts separated by `/`, latin1), or undefined. */
export function findNode(image: Image, path: string): NodeId | undefined {
  let node: NodeId = image.root
  for (const part of path.split('/')) {
    if (part === '') continue
    const next = findChild(image, node, part)
    if (next === undefined) return undefined
    node = next
  }
  return node
}

export function findChild(image: Image, directory: NodeId, name: string): NodeId | undefined {
  if (readInode(image, directory, inode).mode >> 12 !== 4) return undefined
  let found: NodeId | undefined
  eachEntry(image, directory, (entry, node) => {
    if (entry === name) found = node
  })
  return found
}
