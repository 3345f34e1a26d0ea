import { StratumError } from '../errors/stratum-error.ts'
import { type Image, latin1, type NodeId } from '../erofs/arena.ts'
import { eachName, isDot, isHiding } from '../erofs/directory.ts'
import { DT, TYPE } from '../erofs/format.ts'
import { createInode, readInode, storedLinks } from '../erofs/inode.ts'
import { userXattrs } from '../erofs/xattrs.ts'
import { type Annex, appendInode, appendName, direntTypeOf, openAnnex } from './append.ts'
import { type Columns, createColumns, finishColumns, type NameRow } from './columns.ts'
import { type Change, DEPTH_MAX, type Entry } from './entry.ts'
import { DOTS, FLAG, type Tree } from './tree.ts'

/** A name as it will be in the new tree. */
interface Child extends NameRow {
  /** The parent's directory that its children come from; 0 is none. */
  from: NodeId
  change: Change | undefined
}

interface Merge {
  readonly annex: Annex
  readonly columns: Columns
  /** The inode of an entry that several names may carry. */
  readonly linkedNodes: Map<Entry, NodeId>
  readonly dots: readonly [number, number]
}

const HIDING_NAMES: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))
/** A directory has two more, `.` and `..`. Memory that is set aside and not used takes none; what is too little is copied. */
const NAMES_AN_INODE = 2
const WHITEOUT_MODE = 0o020644
const inode = createInode()

/**
 * The tree that a parent's image (or `emptyImage()`) becomes by these changes. Nothing of the parent is read but names.
 * @throws unsupported (too deep), integrity (the parent's image is damaged)
 */
export function mergeTree(parent: Image, changes: Change): Tree {
  const annex = openAnnex(parent, changes)
  const columns = createColumns(parent.inodes * NAMES_AN_INODE + countNames(changes))
  const dots = [appendName(annex, '.'), appendName(annex, '..')] as const
  const merge: Merge = { annex, columns, linkedNodes: new Map(), dots }
  const root = changes.entry ? appendInode(annex, changes.entry, true) : parent.root
  if (root === 0) throw new StratumError('internal', 'a tree without a parent needs an entry for its root')
  const rootChild: Child = {
    nameAt: 0,
    nameLength: 0,
    node: root,
    flag: DT.directory,
    from: changes.from ?? parent.root,
    change: changes,
  }

  const pending: Child[] = [rootChild]
  columns.pushDirectory(rootChild, 0)
  let depth = 0
  let nextLevel = 1 // directories stand breadth-first: the number of the first that lies one deeper
  for (let number = 0; number < columns.directoryCount(); number++) {
    if (number === nextLevel) {
      requireDepth(++depth)
      nextLevel = columns.directoryCount()
    }
    columns.openDirectory()
    const directory = pending[number]
    const push = (child: Child): void => {
      if ((child.flag & (FLAG.type | FLAG.dot)) === DT.directory) {
        columns.pushDirectory(child, number)
        pending.push(child)
      } else columns.push(child, isLinked(merge, child))
    }
    if (directory.change === undefined) pushUnchanged(merge, directory, push)
    else for (const child of changedChildren(merge, directory, number === 0)) push(child)
    pending[number] = rootChild // its work is done: let it go
  }
  return finishColumns(annex, columns)
}

function requireDepth(depth: number): void {
  if (depth <= DEPTH_MAX) return
  throw new StratumError('unsupported', `the tree has more than ${DEPTH_MAX} directories, one inside the other`)
}

function countNames(changes: Change): number {
  let names = 0
  const pending = [changes]
  for (let change = pending.pop(); change !== undefined; change = pending.pop()) {
    names += 2 + (change.children?.size ?? 0)
    for (const child of change.children?.values() ?? [])
      if (child.children !== undefined || child.entry != null) pending.push(child)
  }
  return names
}

function isLinked({ annex, columns }: Merge, { node, flag }: Child): boolean {
  if ((flag & FLAG.notEntry) !== 0) return false
  return columns.mayBeLinked(node) || (node < annex.image.firstAdded && storedLinks(annex.image, node) > 1)
}

/** One name after the other that is no directory: columns copy what is in it. A million objects would have to be cleared away. */
const passing: Child = { nameAt: 0, nameLength: 0, node: 0, flag: 0, from: 0, change: undefined }

/** The names of a directory below which nothing changes. */
function pushUnchanged({ annex }: Merge, directory: Child, push: (child: Child) => void): void {
  if (directory.from === 0) return
  eachName(annex.image, directory.from, (nameAt, nameLength, node, type) => {
    const dot = isDot(annex.image, nameAt, nameLength)
    if (type === DT.directory && !dot) {
      push({ nameAt, nameLength, node, flag: type, from: node, change: undefined })
      return
    }
    passing.nameAt = nameAt
    passing.nameLength = nameLength
    passing.node = !dot ? node : nameLength === 1 ? DOTS.self : DOTS.parent
    passing.flag = dot ? DT.directory | FLAG.dot : type
    push(passing)
  })
}

/** The names of a directory in or below which something changes, in the order of the image. */
function changedChildren(merge: Merge, directory: Child, isRoot: boolean): Child[] {
  const { annex, dots } = merge
  const children = parentChildren(annex.image, directory.from)
  for (const [name, change] of directory.change?.children ?? []) applyChange(merge, children, name, change)
  const dot = { flag: DT.directory | FLAG.dot, from: 0, change: undefined }
  children.set('.', { nameAt: dots[0], nameLength: 1, node: DOTS.self, ...dot })
  children.set('..', { nameAt: dots[1], nameLength: 2, node: DOTS.parent, ...dot })
  if (isRoot) addHidingNames(annex, directory.node, children)
  return [...children].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, child]) => child)
}

function parentChildren(image: Image, directory: NodeId): Map<string, Child> {
  const children = new Map<string, Child>()
  if (directory === 0) return children
  eachName(image, directory, (nameAt, nameLength, node, type) => {
    if (isDot(image, nameAt, nameLength) || (directory === image.root && isHiding(image, node, type))) return
    const from = type === DT.directory ? node : 0
    children.set(latin1(image.arena, nameAt, nameLength), {
      nameAt,
      nameLength,
      node,
      flag: type,
      from,
      change: undefined,
    })
  })
  return children
}

function applyChange(merge: Merge, children: Map<string, Child>, name: string, change: Change): void {
  const { annex } = merge
  if (change.entry === null) {
    children.delete(name)
    return
  }
  const before = children.get(name)
  if (change.entry === undefined && change.from === undefined) {
    if (before?.flag !== DT.directory)
      throw new StratumError('internal', `a change below ${JSON.stringify(name)}, which is no directory`)
    before.change = change
    return
  }
  const place = before ?? { nameAt: appendName(annex, name), nameLength: name.length }
  const node = nodeOfChange(merge, change, before)
  children.set(name, {
    nameAt: place.nameAt,
    nameLength: place.nameLength,
    ...node,
    change: node.flag === DT.directory ? change : undefined,
  })
}

function nodeOfChange(
  merge: Merge,
  change: Change,
  before: Child | undefined,
): { node: NodeId; flag: number; from: NodeId } {
  const { annex } = merge
  if (change.entry) {
    const flag = direntTypeOf(change.entry.mode)
    const from = flag === DT.directory ? (change.from ?? before?.from ?? 0) : 0
    return { node: nodeOfEntry(merge, change.entry), flag, from }
  }
  const node = change.from as NodeId
  const type = readInode(annex.image, node, inode).mode >> 12
  if (type !== TYPE.directory) merge.columns.noteLinked(node)
  return { node, flag: direntTypeOf(inode.mode), from: type === TYPE.directory ? node : 0 }
}

function nodeOfEntry(merge: Merge, entry: Entry): NodeId {
  if (!entry.linked) return appendInode(merge.annex, entry, false)
  let node = merge.linkedNodes.get(entry)
  if (node === undefined) {
    node = appendInode(merge.annex, entry, false)
    merge.linkedNodes.set(entry, node)
    merge.columns.noteLinked(node)
  }
  return node
}

/** The object store's folders `00` to `ff` would show through the mount, so composefs puts whiteouts on their names. */
function addHidingNames(annex: Annex, root: NodeId, children: Map<string, Child>): void {
  const { uid, gid, seconds, nanoseconds } = readInode(annex.image, root, inode)
  const xattrs = userXattrs(annex.image, root, inode).filter(([name]) => name === 'security.selinux')
  const whiteout = {
    mode: WHITEOUT_MODE,
    uid,
    gid,
    seconds,
    nanoseconds,
    size: 0,
    digest: undefined,
    data: '',
    device: 0,
    xattrs,
    linked: false,
  }
  const node = appendInode(annex, whiteout, false)
  for (const name of HIDING_NAMES) {
    if (children.has(name)) continue
    const nameAt = appendName(annex, name)
    children.set(name, { nameAt, nameLength: 2, node, flag: DT.character | FLAG.hiding, from: 0, change: undefined })
  }
}
