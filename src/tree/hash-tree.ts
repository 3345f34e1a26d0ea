import crypto from 'node:crypto'
import { DT } from '../erofs/format.ts'
import { createInode, eachPiece, type Inode, readData, readInode } from '../erofs/inode.ts'
import { digestAt, userXattrs } from '../erofs/xattrs.ts'
import { createMerkleTree, type MerkleTree } from '../hashes/merkle.ts'
import { hexOf, sha256 } from '../hashes/sha256.ts'
import { verityOf } from '../hashes/verity.ts'
import type { CommitId } from '../names/commit-id.ts'
import {
  createEntryWriter,
  type EntryWriter,
  putByte,
  putBytes,
  putDigest,
  putText,
  putU32,
  putU64,
  putZeros,
  reserve,
} from './entry-writer.ts'
import { FLAG, pathOf, type Slot, type Tree } from './tree.ts'

/** Both hashes of a tree (docs/format.md 2 and 3) and what is counted on the way. */
export interface TreeHashes {
  id: CommitId
  /** Hexadecimal. */
  merkleRoot: string
  /** Entries that are no directories: the leaves of the Merkle tree of files. */
  files: number
  directories: number
  /** Sum of the sizes of regular files, hard links once. */
  bytes: number
}

const COMMIT_PREFIX = 'stratum-commit-v1\0'
const ROOT_PREFIX = '\x02stratum-root-v1\0'
const LEAF_PREFIX = 0x00
/** Entry types by dirent type: regular, directory, character, block, fifo, socket, symlink. */
const ENTRY_TYPE: readonly number[] = [0, 1, 2, 4, 5, 6, 7, 3]
const FURTHER_LINK = 8
/** All fields that have a fixed size, with room to spare. */
const FIXED_BYTES = 128

interface Walk {
  readonly tree: Tree
  readonly id: crypto.Hash
  readonly files: MerkleTree
  readonly directories: MerkleTree
  readonly writer: EntryWriter
  readonly inode: Inode
  path: Buffer
  pathLength: number
  bytes: number
}

/** Hashes all entries in depth-first order, siblings by bytes. Reads no objects: their digests stand for them. */
export function hashTree(tree: Tree): TreeHashes {
  const walk: Walk = {
    tree,
    id: crypto.createHash('sha256').update(COMMIT_PREFIX, 'latin1'),
    files: createMerkleTree(),
    directories: createMerkleTree(),
    writer: createEntryWriter(),
    inode: createInode(),
    path: Buffer.alloc(1 << 14),
    pathLength: 0,
    bytes: 0,
  }
  hashEntry(walk, 0)
  hashDirectory(walk, 0)
  const { files, directories, id, writer, bytes } = walk
  id.update(writer.chunk.subarray(1, writer.used))
  return {
    id: id.digest('hex') as CommitId,
    merkleRoot: hexOf(
      sha256(Buffer.concat([Buffer.from(ROOT_PREFIX, 'latin1'), countedRoot(files), countedRoot(directories)])),
    ),
    files: files.leaves(),
    directories: directories.leaves(),
    bytes,
  }
}

function countedRoot(tree: MerkleTree): Buffer {
  const count = Buffer.alloc(8)
  count.writeBigUInt64BE(BigInt(tree.leaves()))
  return Buffer.concat([count, Buffer.from(tree.root(), 'latin1')])
}

function hashDirectory(walk: Walk, directory: number): void {
  const { flag, nameAt, nameLength, image, directories } = walk.tree
  const { pathLength } = walk
  const end = directories.first[directory + 1]
  let inner = directories.down[directory]
  for (let slot = directories.first[directory]; slot < end; slot++) {
    if ((flag[slot] & FLAG.notEntry) !== 0) continue
    walk.pathLength = pathLength
    enterPath(walk, image.arena.bytes, nameAt[slot], nameLength[slot])
    hashEntry(walk, slot)
    if ((flag[slot] & FLAG.type) === DT.directory) hashDirectory(walk, inner++)
  }
  walk.pathLength = pathLength
}

function enterPath(walk: Walk, bytes: Buffer, at: number, length: number): void {
  if (walk.pathLength + length + 1 > walk.path.length) walk.path = Buffer.concat([walk.path], walk.path.length * 2)
  const { path } = walk
  if (walk.pathLength > 0) path[walk.pathLength++] = 0x2f
  for (let i = 0; i < length; i++) path[walk.pathLength + i] = bytes[at + i]
  walk.pathLength += length
}

function hashEntry(walk: Walk, slot: Slot): void {
  const { tree, writer } = walk
  const start = (tree.flag[slot] & FLAG.alias) === 0 ? encodeInode(walk, slot) : encodeFurtherLink(walk, slot)
  const leaves = (tree.flag[slot] & FLAG.type) === DT.directory ? walk.directories : walk.files
  // The leaf is the entry with a prefix before it: the byte there belongs to the entry before and is lent for a moment.
  const lent = writer.chunk[start - 1]
  writer.chunk[start - 1] = LEAF_PREFIX
  leaves.add(sha256(writer.chunk.subarray(start - 1, writer.used)))
  writer.chunk[start - 1] = lent
}

/** Writes an entry's type and path; returns where the entry begins. */
function beginEntry(walk: Walk, type: number, variableBytes: number): number {
  const { writer, pathLength } = walk
  reserve(writer, FIXED_BYTES + pathLength + variableBytes, entries => walk.id.update(entries))
  const start = writer.used
  putByte(writer, type)
  putU32(writer, pathLength)
  putBytes(writer, walk.path, 0, pathLength)
  return start
}

function encodeFurtherLink(walk: Walk, slot: Slot): number {
  const primary = pathOf(walk.tree, walk.tree.primary.get(slot) as Slot)
  const start = beginEntry(walk, FURTHER_LINK, primary.length)
  putZeros(walk.writer, 32)
  putText(walk.writer, primary)
  putU32(walk.writer, 0)
  return start
}

function encodeInode(walk: Walk, slot: Slot): number {
  const { tree, writer } = walk
  const node = tree.node[slot]
  const type = tree.flag[slot] & FLAG.type
  const inode = readInode(tree.image, node, walk.inode)
  const xattrs = inode.xattrBytes === 0 ? [] : userXattrs(tree.image, node, inode)
  let variableBytes = type === DT.symlink ? inode.size : 0
  for (const [name, value] of xattrs) variableBytes += 8 + name.length + value.length
  const start = beginEntry(walk, ENTRY_TYPE[type], variableBytes)
  putU32(writer, inode.mode & 0o7777)
  putU32(writer, inode.uid)
  putU32(writer, inode.gid)
  putU64(writer, inode.seconds)
  putU32(writer, inode.nanoseconds)
  putU64(writer, type === DT.regular ? inode.size : 0)
  putPayload(walk, node, type)
  putU32(writer, xattrs.length)
  for (const [name, value] of xattrs) {
    putText(writer, name)
    putText(writer, value)
  }
  return start
}

function putPayload(walk: Walk, node: number, type: number): void {
  const { writer, inode } = walk
  const { image } = walk.tree
  if (type === DT.regular) {
    walk.bytes += inode.size
    const at = digestAt(image, node, inode)
    if (at >= 0) putDigest(writer, image.arena.bytes, at)
    else putDigest(writer, Buffer.from(verityOf(Buffer.from(readData(image, node, inode), 'latin1')), 'hex'), 0)
  } else if (type === DT.symlink) {
    putU32(writer, inode.size)
    eachPiece(image, node, inode, (at, length) => putBytes(writer, image.arena.bytes, at, length))
  } else if (type === DT.character || type === DT.block) {
    putU32(writer, 8)
    putU32(writer, (inode.raw >>> 8) & 0xfff)
    putU32(writer, (inode.raw & 0xff) | ((inode.raw >>> 12) & 0xfff00))
  } else putU32(writer, 0)
}
