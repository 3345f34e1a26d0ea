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

/** The same path on both sides; undefined where it is not there. */
interface Pair {
  readonly path: string
  readonly before: View | undefined
  readonly after: View | undefined
}

/** Calls `report` for every path that differs, depth-first by bytes. What both sides take from one place is not walked. */
export function eachDifference(before: View, after: View, report: (difference: Difference) => void): void {
  const pending: Pair[] = [{ path: '', before, after }]
  for (let pair = pending.pop(); pair !== undefined; pair = pending.pop()) {
    if (isUnchanged(pair)) continue
    const old = pair.before === undefined ? undefined : entryOfView(pair.before)
    const now = pair.after === undefined ? undefined : entryOfView(pair.after)
    const difference = compareEntries(pair.path, old, now)
    if (difference !== undefined) report(difference)
    const below = pairsBelow(pair, isDirectory(old?.mode ?? 0), isDirectory(now?.mode ?? 0))
    for (let i = below.length - 1; i >= 0; i--) pending.push(below[i])
  }
}

function isUnchanged({ before, after }: Pair): boolean {
  if (before === undefined || before.image !== after?.image || before.node !== after.node) return false
  return before.change === undefined && after.change === undefined
}

function compareEntries(path: string, before: Entry | undefined, after: Entry | undefined): Difference | undefined {
  if (before === undefined || after === undefined)
    return { kind: before === undefined ? '+' : '-', path, before, after, contentChanged: true }
  if (before.mode >> 12 !== after.mode >> 12) return { kind: 'T', path, before, after, contentChanged: true }
  const contentChanged = before.size !== after.size || before.digest !== after.digest || before.data !== after.data
  if (!contentChanged && sameAttributes(before, after)) return undefined
  return { kind: 'M', path, before, after, contentChanged }
}

/** The names inside a directory of one side or both, in the order of bytes. */
function pairsBelow({ path, before, after }: Pair, wasDirectory: boolean, isDirectory: boolean): Pair[] {
  const only = wasDirectory && isDirectory ? changedNames(before, after) : undefined
  const old = before !== undefined && wasDirectory ? childrenOf(before, only) : NOTHING
  const now = after !== undefined && isDirectory ? childrenOf(after, only) : NOTHING
  const names = [...new Set([...old.keys(), ...now.keys()])].sort()
  return names.map(name => ({
    path: path === '' ? name : `${path}/${name}`,
    before: old.get(name),
    after: now.get(name),
  }))
}

const NOTHING: ReadonlyMap<string, View> = new Map()
const NO_NAMES: ReadonlyMap<string, Change> = new Map()

/** Where both sides are one directory of one image and only one has a change, no other names than those of the change can differ. */
function changedNames(before: View | undefined, after: View | undefined): ReadonlyMap<string, Change> | undefined {
  if (before === undefined || after === undefined) return undefined
  if (before.image !== after.image || before.node !== after.node) return undefined
  if (before.change !== undefined && after.change !== undefined) return undefined
  return (before.change ?? after.change)?.children ?? NO_NAMES
}

export function entryOfView({ image, node, change }: View): Entry {
  return change?.entry ?? readEntry(image, node)
}

/** The names in a directory, or some of them; for a change that only touches a few, the others are as the image has them. */
export function childrenOf({ image, node, change }: View, only?: ReadonlyMap<string, unknown>): Map<string, View> {
  const children = new Map<string, View>()
  if (node !== 0)
    eachEntry(image, node, (name, child) => {
      if (only === undefined || only.has(name)) children.set(name, { image, node: child, change: undefined })
    })
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
