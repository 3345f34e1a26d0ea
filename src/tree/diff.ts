import type { Image, NodeId } from '../erofs/arena.ts'
import { eachEntry } from '../erofs/directory.ts'
import { isDirectory } from './append.ts'
import type { Change, Entry } from './entry.ts'
import { readEntry } from './read-entry.ts'

/** A file or directory of a tree: of an image, or of an image with changes that no image has been made of yet. */
export interface View {
  readonly image: Image
  /** 0 where nothing of the image is in it. */
  readonly node: NodeId
  readonly change: Change | undefined
}

/** `+` new, `-` gone, `M` other bytes or attributes, `T` another type. */
export type DifferenceKind = '+' | '-' | 'M' | 'T'

export interface Difference {
  readonly kind: DifferenceKind
  /** Latin1; the root is `''`. */
  readonly path: string
  readonly before: Entry | undefined
  readonly after: Entry | undefined
  /** Of a modified file: whether its bytes are others, not only its attributes. */
  readonly contentChanged: boolean
}

export function viewImage(image: Image): View {
  return { image, node: image.root, change: undefined }
}

/** A tree as it will be with these changes of the whole image. */
export function viewChanged(image: Image, change: Change): View {
  return { image, node: change.from ?? image.root, change }
}

/** Calls `report` for every path that differs, depth-first by bytes. What both sides take from one place is not walked. */
export function eachDifference(before: View, after: View, report: (difference: Difference) => void): void {
  compare(before, after, '', report)
}

function compare(before: View, after: View, path: string, report: (difference: Difference) => void): void {
  if (
    before.image === after.image &&
    before.node === after.node &&
    before.change === undefined &&
    after.change === undefined
  )
    return
  const [old, now] = [entryOfView(before), entryOfView(after)]
  if (old.mode >> 12 !== now.mode >> 12) {
    report({ kind: 'T', path, before: old, after: now, contentChanged: true })
    if (isDirectory(old.mode)) reportAll(before, path, '-', report)
    if (isDirectory(now.mode)) reportAll(after, path, '+', report)
    return
  }
  const contentChanged = old.size !== now.size || old.digest !== now.digest || old.data !== now.data
  if (contentChanged || !sameAttributes(old, now)) report({ kind: 'M', path, before: old, after: now, contentChanged })
  if (isDirectory(now.mode)) compareChildren(before, after, path, report)
}

function compareChildren(before: View, after: View, path: string, report: (difference: Difference) => void): void {
  const [old, now] = [childrenOf(before), childrenOf(after)]
  for (const name of unionOfNames(old, now)) {
    const at = path === '' ? name : `${path}/${name}`
    const [a, b] = [old.get(name), now.get(name)]
    if (a === undefined && b !== undefined) reportTree(b, at, '+', report)
    else if (b === undefined && a !== undefined) reportTree(a, at, '-', report)
    else if (a !== undefined && b !== undefined) compare(a, b, at, report)
  }
}

function unionOfNames(a: ReadonlyMap<string, View>, b: ReadonlyMap<string, View>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].sort()
}

function reportTree(view: View, path: string, kind: '+' | '-', report: (difference: Difference) => void): void {
  const entry = entryOfView(view)
  report({
    kind,
    path,
    before: kind === '-' ? entry : undefined,
    after: kind === '+' ? entry : undefined,
    contentChanged: true,
  })
  if (isDirectory(entry.mode)) reportAll(view, path, kind, report)
}

function reportAll(view: View, path: string, kind: '+' | '-', report: (difference: Difference) => void): void {
  const children = childrenOf(view)
  for (const name of [...children.keys()].sort())
    reportTree(children.get(name) as View, path === '' ? name : `${path}/${name}`, kind, report)
}

export function entryOfView({ image, node, change }: View): Entry {
  return change?.entry ?? readEntry(image, node)
}

/** The names in a directory; for a change that only touches a few, the others are as the image has them. */
export function childrenOf({ image, node, change }: View): Map<string, View> {
  const children = new Map<string, View>()
  if (node !== 0)
    eachEntry(image, node, (name, child) => void children.set(name, { image, node: child, change: undefined }))
  for (const [name, below] of change?.children ?? []) {
    if (below.entry === null) children.delete(name)
    else children.set(name, { image, node: nodeBelow(below, children.get(name)), change: below })
  }
  return children
}

/** Where a changed name's children come from in the image; see `Change`. A file that becomes a directory has none. */
function nodeBelow(change: Change, before: View | undefined): NodeId {
  if (change.from !== undefined) return change.from
  return before !== undefined && isDirectory(entryOfView(before).mode) ? before.node : 0
}

function sameAttributes(a: Entry, b: Entry): boolean {
  const same = a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.device === b.device
  return same && a.seconds === b.seconds && a.nanoseconds === b.nanoseconds && sameXattrs(a, b)
}

function sameXattrs(a: Entry, b: Entry): boolean {
  if (a.xattrs.length !== b.xattrs.length) return false
  const values = new Map(a.xattrs)
  return b.xattrs.every(([name, value]) => values.get(name) === value)
}
