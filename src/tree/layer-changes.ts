import type { Image, NodeId } from '../erofs/arena.ts'
import { eachName, findChild, findNode, isDot } from '../erofs/directory.ts'
import { DT, TYPE } from '../erofs/format.ts'
import { createInode, readData, readInode } from '../erofs/inode.ts'
import {
  digestAt,
  METACOPY,
  OPAQUE,
  OVERLAY,
  OVERLAY_ESCAPED,
  REDIRECT,
  unescapeXattrName,
  type Xattr,
} from '../erofs/xattrs.ts'
import { latin1 } from '../erofs/arena.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import { hexOf } from '../hashes/sha256.ts'
import type { Change, Content, Entry, FileAttributes } from './entry.ts'
import { entryOf } from './to-entry.ts'

/** A name of an upperdir as it lies on disk, with overlayfs' own xattrs. Names of one inode, in upperdir and index, share one node. */
export interface LayerNode {
  readonly stat: FileAttributes
  readonly xattrs: readonly Xattr[]
  /** A regular file's bytes (not of one that has only metadata), a symlink's target. */
  readonly content: Content | undefined
  readonly children: ReadonlyMap<string, LayerNode> | undefined
}

/** What HEAD wrote: its upperdir, and the index of its workdir by the names of the entries. */
export interface Layer {
  readonly root: LayerNode
  readonly index: ReadonlyMap<string, LayerNode>
}

export interface LayerChanges {
  readonly change: Change
  /** Hard links of the base that were torn apart when the upperdir was copied: their names, for a warning. */
  readonly torn: string[]
}

const ORIGIN = `${OVERLAY}origin`
const WHITEOUT = `${OVERLAY}whiteout`
const TEMPORARY = '#'

/**
 * The changes that an upperdir and index make to their base, by the rules of overlayfs (Linux: Documentation/filesystems/overlayfs.rst)
 * with metacopy, redirect_dir and index on; docs/head.md 2 lists them. @throws integrity where the upperdir does not fit the base
 */
export function layerChanges(base: Image, layer: Layer): LayerChanges {
  const index = indexByNode(layer.index)
  const merging: Merging = {
    base,
    index,
    indexed: index.size === 0 ? new Map() : findIndexed(base, index),
    entries: new Map(),
    torn: [],
  }
  return { change: mergeDirectory(merging, layer.root, base.root, ''), torn: merging.torn }
}

interface Merging {
  readonly base: Image
  /** Base inodes with several names of which one was written to: they live on as this file. */
  readonly index: ReadonlyMap<NodeId, LayerNode>
  /** The names of those inodes in the base, by directory. */
  readonly indexed: ReadonlyMap<NodeId, IndexedNames>
  /** The entry of each node that several names may share. */
  readonly entries: Map<LayerNode, Entry>
  readonly torn: string[]
}

/** Names in or below a directory of the base whose inode has an index entry. */
interface IndexedNames {
  readonly files: Map<string, NodeId>
  readonly directories: Map<string, NodeId>
}

function indexByNode(index: ReadonlyMap<string, LayerNode>): Map<NodeId, LayerNode> {
  const nodes = new Map<NodeId, LayerNode>()
  for (const [name, node] of index) {
    if (name.startsWith(TEMPORARY) || isWhiteout(node, false)) continue
    const handle = decodeFileHandle(Buffer.from(name, 'hex'))
    if (handle !== undefined) nodes.set(handle, node)
  }
  return nodes
}

const HANDLE_MAGIC = 0xfb
const HANDLE_BYTES_MIN = 25
const FILEID_INO32_GEN = 1
const FILEID_EROFS_64 = 0x81

/** The node that overlayfs' file handle (struct ovl_fh) names in our image; the form changed in Linux 6.15. */
function decodeFileHandle(handle: Buffer): NodeId | undefined {
  if (handle.length < HANDLE_BYTES_MIN || handle[0] !== 0 || handle[1] !== HANDLE_MAGIC) return undefined
  if (handle[4] === FILEID_INO32_GEN) return handle.readUInt32LE(21)
  if (handle[4] === FILEID_EROFS_64 && handle.length >= HANDLE_BYTES_MIN + 4)
    return handle.readUInt32LE(21) * 2 ** 32 + handle.readUInt32LE(25)
  return undefined
}

/** Every name in the base of an inode that has an index entry. */
function findIndexed(base: Image, index: ReadonlyMap<NodeId, LayerNode>): Map<NodeId, IndexedNames> {
  const found = new Map<NodeId, IndexedNames>()
  const visit = (directory: NodeId): boolean => {
    const names: IndexedNames = { files: new Map(), directories: new Map() }
    const below: [string, NodeId][] = []
    eachName(base, directory, (at, length, node, type) => {
      if (isDot(base, at, length)) return
      if (type === DT.directory) below.push([latin1(base.arena, at, length), node])
      else if (index.has(node)) names.files.set(latin1(base.arena, at, length), node)
    })
    for (const [name, node] of below) if (visit(node)) names.directories.set(name, node)
    if (names.files.size + names.directories.size === 0) return false
    found.set(directory, names)
    return true
  }
  visit(base.root)
  return found
}

function mergeDirectory(merging: Merging, node: LayerNode, lower: NodeId, path: string): Change {
  const children = new Map<string, Change>()
  const marksWhiteouts = xattr(node, OPAQUE) === 'x'
  for (const [name, child] of node.children ?? []) {
    const at = path === '' ? name : `${path}/${name}`
    if (isWhiteout(child, marksWhiteouts) || isLost(child)) children.set(name, { entry: null })
    else if (child.children !== undefined)
      children.set(name, mergeDirectory(merging, child, lowerDirectory(merging.base, child, name, lower), at))
    else children.set(name, { entry: fileEntry(merging, child, at) })
  }
  addIndexed(merging, lower, children, path)
  const entry = entryOf({ stat: node.stat, xattrs: ownXattrs(node), path: path || '.' }, undefined, false)
  return { entry: path === '' ? withoutGift(entry, node) : entry, from: lower, children }
}

/** Notes on the upperdir that a group was let into the root of HEAD for a pod, and how the root was before. */
export const GIVEN_GROUP = `${OVERLAY}stratum.group`
export const GROUP_BITS = 0o2070

export interface GivenGroup {
  readonly gid: number
  readonly gidBefore: number
  /** Permission bits. */
  readonly modeBefore: number
}

export function formatGift({ gid, gidBefore, modeBefore }: GivenGroup): string {
  return `${gid} ${gidBefore} ${modeBefore}`
}

export function parseGift(text: string): GivenGroup | undefined {
  const [gid, gidBefore, modeBefore] = /^\d+ \d+ \d+$/.test(text) ? text.split(' ').map(Number) : []
  return gid === undefined ? undefined : { gid, gidBefore, modeBefore }
}

/** Whether a root is as the gift left it: what was changed since is the user's own. */
export function isAsGiven(root: { readonly gid: number; readonly mode: number }, gift: GivenGroup): boolean {
  return root.gid === gift.gid && (root.mode & 0o7777) === (gift.modeBefore | GROUP_BITS)
}

/** What was given to a pod of this node is no change of the content: it makes no commit, and is in none. */
function withoutGift(entry: Entry, node: LayerNode): Entry {
  const gift = parseGift(xattr(node, GIVEN_GROUP) ?? '')
  if (gift === undefined || !isAsGiven(entry, gift)) return entry
  return { ...entry, gid: gift.gidBefore, mode: (entry.mode & ~0o7777) | gift.modeBefore }
}

/** The directory of the base that shows through a directory of the upperdir, or 0. */
function lowerDirectory(base: Image, node: LayerNode, name: string, lowerParent: NodeId): NodeId {
  if (xattr(node, OPAQUE) === 'y') return 0
  const redirect = xattr(node, REDIRECT)
  const lower = redirect?.startsWith('/')
    ? findNode(base, redirect)
    : lowerParent === 0
      ? undefined
      : findChild(base, lowerParent, redirect ?? name)
  return lower !== undefined && readInode(base, lower, createInode()).mode >> 12 === TYPE.directory ? lower : 0
}

/** Names of the base that the upperdir neither holds nor hides, but whose inode was written to under another name. */
function addIndexed(merging: Merging, lower: NodeId, children: Map<string, Change>, path: string): void {
  const names = merging.indexed.get(lower)
  if (names === undefined) return
  for (const [name, node] of names.files) {
    const written = merging.index.get(node)
    if (!children.has(name) && written !== undefined)
      children.set(name, { entry: fileEntry(merging, written, `${path}/${name}`, true) })
  }
  for (const [name, node] of names.directories) {
    if (children.has(name)) continue
    const below = new Map<string, Change>()
    addIndexed(merging, node, below, `${path}/${name}`)
    children.set(name, { children: below })
  }
}

/** The names of an indexed inode that only the base has are not in its link count: several may remain where that is 1. */
function fileEntry(merging: Merging, node: LayerNode, path: string, isIndexed = false): Entry {
  const { stat } = node
  const linked = isIndexed || stat.links > 1
  const known = linked ? merging.entries.get(node) : undefined
  if (known !== undefined) return known
  reportTorn(merging, node, path)
  const content = xattr(node, METACOPY) === undefined ? node.content : contentBelow(merging, node, path)
  const entry = entryOf({ stat, xattrs: ownXattrs(node), path }, content, linked)
  if (linked) merging.entries.set(node, entry)
  return entry
}

/** The bytes of a file that was copied up without them: those of its origin in the base. */
function contentBelow({ base }: Merging, node: LayerNode, path: string): Content {
  const origin = originOf(node)
  if (origin === undefined || origin >= base.firstAdded) {
    throw new StratumError(
      'integrity',
      `the upperdir holds only the metadata of ${toUser(path)} and does not say whose data it has`,
    )
  }
  const inode = readInode(base, origin, createInode())
  if (inode.mode >> 12 !== TYPE.regular)
    throw new StratumError(
      'integrity',
      `the data of ${toUser(path)} should be those of an inode of the base that is no file`,
    )
  const at = digestAt(base, origin, inode)
  if (at < 0) return { size: inode.size, digest: undefined, data: readData(base, origin, inode) }
  return { size: inode.size, digest: hexOf(latin1(base.arena, at, 32)), data: '' }
}

function originOf(node: LayerNode): NodeId | undefined {
  const origin = xattr(node, ORIGIN)
  return origin === undefined ? undefined : decodeFileHandle(Buffer.from(origin, 'latin1'))
}

function reportTorn({ index, torn }: Merging, node: LayerNode, path: string): void {
  const origin = index.size === 0 ? undefined : originOf(node)
  const indexed = origin === undefined ? undefined : index.get(origin)
  if (indexed !== undefined && indexed.stat.inode !== node.stat.inode) torn.push(path)
}

function isWhiteout({ stat, xattrs, content }: LayerNode, marked: boolean): boolean {
  if (stat.mode >> 12 === TYPE.character) return stat.device === 0
  return (
    marked &&
    stat.mode >> 12 === TYPE.regular &&
    (content?.size ?? 0) === 0 &&
    xattrs.some(([name]) => name === WHITEOUT)
  )
}

/** A file that was removed or renamed before its bytes were read. */
function isLost(node: LayerNode): boolean {
  return node.content === undefined && node.stat.mode >> 12 === TYPE.regular && xattr(node, METACOPY) === undefined
}

/** The user's xattrs: overlayfs' own left out, those that it stored one level deeper for the user as they were. */
function ownXattrs({ xattrs }: LayerNode): readonly Xattr[] {
  if (!xattrs.some(([name]) => name.startsWith(OVERLAY))) return xattrs
  return xattrs
    .filter(([name]) => !name.startsWith(OVERLAY) || name.startsWith(OVERLAY_ESCAPED))
    .map(([name, value]) => [unescapeXattrName(name), value])
}

function xattr({ xattrs }: LayerNode, wanted: string): string | undefined {
  for (const [name, value] of xattrs) if (name === wanted) return value
  return undefined
}
