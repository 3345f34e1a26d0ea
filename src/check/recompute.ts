import crypto from 'node:crypto'
import { toUser } from '../names/text.ts'
import { measureBytes } from './fs-verity.ts'
import { bindRoots, leafHash } from './merkle-root.ts'
import {
  type CheckedImage,
  type CheckedName,
  type CheckedNode,
  malformed,
  openCheckedImage,
  readContent,
  readNames,
  readNode,
  readXattrs,
} from './read-image.ts'

/** What a tree's hashes and counts are, computed from an image alone by docs/format.md. */
export interface Recomputed {
  readonly id: string
  readonly merkleRoot: string
  /** Entries that are no directories. */
  readonly files: number
  readonly directories: number
  /** Sizes of all regular files, hard links once. */
  readonly bytes: number
}

/** Is called for each regular file whose bytes are in an object. */
export type OnObject = (digest: string, size: number, path: string) => void

/** Types as st_mode >> 12 has them. */
const DIRECTORY = 4
const CHARACTER = 2
/** The same in directory entries, and in the entries that are hashed. */
const DIRENT_TYPE: readonly number[] = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6]
const ENTRY_TYPE: readonly number[] = [0, 6, 4, 0, 2, 0, 5, 0, 1, 0, 3, 0, 7]
const ENTRY = { regular: 1, symlink: 3, character: 4, block: 5, furtherName: 8 } as const

interface Walk {
  readonly image: CheckedImage
  readonly id: crypto.Hash
  readonly fileLeaves: Buffer[]
  readonly directoryLeaves: Buffer[]
  /** The first name of every inode that is no directory, how many names it has and how many it says. */
  readonly names: Map<number, { readonly first: string; count: number; readonly links: number }>
  readonly entered: Set<number>
  readonly onObject: OnObject
  bytes: number
}

/** Recomputes both hashes. @throws integrity where the image cannot be one of a tree */
export function recompute(bytes: Buffer, onObject: OnObject): Recomputed {
  try {
    return walkImage(bytes, onObject)
  } catch (error) {
    if (error instanceof RangeError) throw malformed(error.message)
    throw error
  }
}

function walkImage(bytes: Buffer, onObject: OnObject): Recomputed {
  const image = openCheckedImage(bytes)
  const walk: Walk = {
    image,
    id: crypto.createHash('sha256').update('stratum-commit-v1\0'),
    fileLeaves: [],
    directoryLeaves: [],
    names: new Map(),
    entered: new Set(),
    onObject,
    bytes: 0,
  }
  const root = readNode(image, image.root)
  if (root.type !== DIRECTORY) throw malformed('its root is no directory')
  addDirectory(walk, root, '', root.number)
  for (const { first, count, links } of walk.names.values())
    if (count !== links) throw malformed(`${toUser(first)} has ${count} names and says ${links}`)
  return {
    id: walk.id.digest('hex'),
    merkleRoot: bindRoots(Buffer.concat(walk.fileLeaves), Buffer.concat(walk.directoryLeaves)),
    files: walk.fileLeaves.length,
    directories: walk.directoryLeaves.length,
    bytes: walk.bytes,
  }
}

function addDirectory(walk: Walk, node: CheckedNode, path: string, parent: number): void {
  if (walk.entered.has(node.number)) throw malformed(`directory ${toUser(path)} is in two places`)
  walk.entered.add(node.number)
  add(walk, encodeNode(walk, node, path), walk.directoryLeaves)
  let before = ''
  for (const entry of readNames(walk.image, node)) {
    const { name, number } = entry
    if (name <= before) throw malformed(`the names in /${toUser(path)} are out of order`)
    before = name
    if (name !== '.' && name !== '..') addName(walk, entry, path === '' ? name : `${path}/${name}`, node)
    else if (number !== (name === '.' ? node.number : parent))
      throw malformed(`/${toUser(path)}/${name} leads elsewhere`)
  }
}

function addName(walk: Walk, { number, type }: CheckedName, path: string, parent: CheckedNode): void {
  const node = readNode(walk.image, number)
  if (type === 0 || DIRENT_TYPE[node.type] !== type)
    throw malformed(`${toUser(path)} is of another type than its directory says`)
  if (node.type === CHARACTER && node.raw === 0) {
    if (parent.number !== walk.image.root) throw malformed(`${toUser(path)} is a whiteout`)
    return // the folders of the object store are hidden so
  }
  if (node.type === DIRECTORY) return addDirectory(walk, node, path, parent.number)
  const known = walk.names.get(number)
  if (known === undefined) walk.names.set(number, { first: path, count: 1, links: node.links })
  else known.count++
  add(walk, known === undefined ? encodeNode(walk, node, path) : encodeFurtherName(path, known.first), walk.fileLeaves)
}

function add(walk: Walk, entry: Buffer, leaves: Buffer[]): void {
  walk.id.update(entry)
  leaves.push(leafHash(entry))
}

function encodeNode(walk: Walk, node: CheckedNode, path: string): Buffer {
  const all = readXattrs(walk.image, node)
  const xattrs = visible(all)
  const type = ENTRY_TYPE[node.type]
  if (type === ENTRY.regular) walk.bytes += node.size
  const numbers = Buffer.alloc(32)
  numbers.writeUInt32BE(node.permissions, 0)
  numbers.writeUInt32BE(node.uid, 4)
  numbers.writeUInt32BE(node.gid, 8)
  numbers.writeBigInt64BE(node.seconds, 12)
  numbers.writeUInt32BE(node.nanoseconds, 20)
  numbers.writeBigUInt64BE(BigInt(type === ENTRY.regular ? node.size : 0), 24)
  return Buffer.concat([
    Buffer.from([type]),
    counted(path),
    numbers,
    counted(payloadOf(walk, node, all, path)),
    uint32(xattrs.length),
    ...xattrs.flatMap(([name, value]) => [counted(name), counted(value)]),
  ])
}

function encodeFurtherName(path: string, first: string): Buffer {
  return Buffer.concat([Buffer.from([ENTRY.furtherName]), counted(path), Buffer.alloc(32), counted(first), uint32(0)])
}

function payloadOf(walk: Walk, node: CheckedNode, xattrs: ReadonlyMap<string, Buffer>, path: string): Buffer {
  const type = ENTRY_TYPE[node.type]
  if (type === ENTRY.regular) return digestOf(walk, node, xattrs, path)
  if (type === ENTRY.symlink) return readContent(walk.image, node)
  if (type !== ENTRY.character && type !== ENTRY.block) return Buffer.alloc(0)
  const { raw } = node
  return Buffer.concat([uint32((raw >>> 8) & 0xfff), uint32((raw & 0xff) | ((raw >>> 12) & 0xfff00))])
}

const DIGEST_HEADER = Buffer.from([0, 36, 0, 1])

/** The digest of a regular file. What leads a mount to the object has to say the same. */
function digestOf(walk: Walk, node: CheckedNode, xattrs: ReadonlyMap<string, Buffer>, path: string): Buffer {
  const metacopy = xattrs.get('trusted.overlay.metacopy')
  if (metacopy === undefined) return Buffer.from(measureBytes(readContent(walk.image, node)), 'hex')
  const digest = metacopy.subarray(DIGEST_HEADER.length)
  if (metacopy.length !== 36 || !metacopy.subarray(0, DIGEST_HEADER.length).equals(DIGEST_HEADER))
    throw malformed(`${toUser(path)} has no digest that can be read`)
  const hex = digest.toString('hex')
  if (xattrs.get('trusted.overlay.redirect')?.toString('latin1') !== `/${hex.slice(0, 2)}/${hex.slice(2)}`)
    throw malformed(`${toUser(path)} leads to another object than its digest names`)
  walk.onObject(hex, node.size, path)
  return digest
}

const OWN: readonly string[] = ['metacopy', 'redirect', 'opaque'].map(name => `trusted.overlay.${name}`)
const ESCAPED = 'trusted.overlay.overlay.'

/** What the user sees: composefs' own left out, escaped names as they were, sorted by bytes. */
function visible(xattrs: ReadonlyMap<string, Buffer>): [string, Buffer][] {
  return [...xattrs]
    .filter(([name]) => !OWN.includes(name))
    .map(([name, value]): [string, Buffer] => [
      name.startsWith(ESCAPED) ? `trusted.overlay.${name.slice(ESCAPED.length)}` : name,
      value,
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Bytes with their number before them; text is latin1. */
function counted(content: string | Buffer): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content
  return Buffer.concat([uint32(bytes.length), bytes])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
