import fs from 'node:fs'
import type { LayerScan, ScannedNode } from '../capture/scan-layer.ts'
import {
  close,
  createFileAt,
  linkAt,
  makeDirectoryAt,
  makeNodeAt,
  makeSymlinkAt,
  openDirectory,
  openDirectoryAt,
  removeDirectoryAt,
  renameNewAt,
  setModeAt,
  setModificationTimeAt,
  setOwnerAt,
  unlinkAt,
} from '../host/descriptors.ts'
import { syncFileSystem, writeAll } from '../host/files.ts'
import { isDirectoryMode, isRegularMode, type Stat, statDescriptor } from '../host/stat.ts'
import { pathAt, removeXattr, setXattr, xattrsAt } from '../host/xattrs.ts'
import { nodePath } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { isDirectory } from '../tree/append.ts'
import { childrenOf, type Difference, entryOfView, type View } from '../tree/diff.ts'
import type { Entry } from '../tree/entry.ts'
import { removeUnchanged, replaceUnchanged, statIfThere, temporaryName, unlessChanged } from './replace-unchanged.ts'

/** What is to be written: the differences between HEAD as it was captured and a tree. */
export interface WantedTree {
  readonly target: View
  readonly differences: readonly Difference[]
  /** HEAD as it was captured. */
  readonly scan: LayerScan
}

/**
 * Makes the differences between two trees in a mounted HEAD that may be in use: each file is written beside its place and exchanged, so
 * that whoever has the old one open keeps it. Works by descriptors: a symlink that somebody puts in the way is not followed, and what is
 * mounted inside is not entered. Returns the paths that somebody changed since HEAD was captured: they stay as they are, for nobody has
 * kept what was written there.
 */
export function writeThrough(store: Store, mountpoint: string, wanted: WantedTree): string[] {
  const { differences } = wanted
  const root = openDirectory(mountpoint)
  try {
    const writing: Writing = { ...wanted, store, root, mount: statDescriptor(root).mountId, kept: new Set() }
    for (const difference of [...differences].reverse()) if (/[-T]/.test(difference.kind)) takeAway(writing, difference)
    for (const difference of differences) put(writing, difference)
    restoreLinks(writing)
    restoreDirectories(writing)
    syncFileSystem(mountpoint)
    syncFileSystem(store.path)
    return [...writing.kept].sort()
  } finally {
    close(root)
  }
}

interface Writing extends WantedTree {
  readonly store: Store
  /** Descriptor of the mount's root. */
  readonly root: number
  readonly mount: bigint
  /** Paths that are not as they were captured. */
  readonly kept: Set<string>
}

const PIECE_BYTES = 1 << 20
const SELF = '.'

/** What `work` returns for the open directory that a path is in and its name there; undefined where there is no such directory of HEAD. */
function inParent<T>(
  { root, mount }: Writing,
  path: string,
  work: (directory: number, name: string) => T,
): T | undefined {
  const parts = path === '' ? [] : path.split('/')
  const name = parts.pop() ?? SELF
  const opened: number[] = []
  try {
    for (const part of parts) {
      const directory = unlessChanged(() => openDirectoryAt(opened.at(-1) ?? root, part))
      if (directory === undefined) return undefined
      opened.push(directory)
      if (statDescriptor(directory).mountId !== mount) return undefined
    }
    return work(opened.at(-1) ?? root, name)
  } finally {
    for (const directory of opened) close(directory)
  }
}

function takeAway(writing: Writing, { path, before }: Difference): void {
  const entry = before as Entry
  const isDone = inParent(writing, path, (directory, name) =>
    isDirectory(entry.mode)
      ? removeDirectory(directory, name)
      : removeUnchanged(directory, name, stat => isAsCaptured(writing, path, entry, stat)),
  )
  const holdsKept = (): boolean => [...writing.kept].some(other => other.startsWith(`${path}/`))
  if (isDone !== true && !(isDirectory(entry.mode) && holdsKept())) writing.kept.add(path)
}

function removeDirectory(directory: number, name: string): boolean {
  if (statIfThere(directory, name) === undefined) return true
  return unlessChanged(() => (removeDirectoryAt(directory, name), true)) ?? false
}

function put(writing: Writing, difference: Difference): void {
  const { kind, path } = difference
  if (kind === '-' || writing.kept.has(path)) return
  if (inParent(writing, path, (directory, name) => putName(writing, difference, directory, name)) !== true)
    writing.kept.add(path)
}

/** Whether it was done. */
function putName(
  writing: Writing,
  { kind, path, before, after, contentChanged }: Difference,
  directory: number,
  name: string,
): boolean {
  const entry = after as Entry
  const isNew = kind !== 'M'
  const isUnchanged = (stat: Stat): boolean => isAsCaptured(writing, path, before as Entry, stat)
  if (!isDirectory(entry.mode) && (isNew || contentChanged)) {
    const place: Place = { directory, name, entry, isUnchanged: isNew ? undefined : isUnchanged }
    return putFile(writing, place)
  }
  if (isNew) {
    if (unlessChanged(() => (makeDirectoryAt(directory, name, 0o700), true)) === undefined) return false
  } else {
    const stat = statIfThere(directory, name)
    // What was done to the first of several names of an inode was done to all of them.
    if (stat === undefined || !(isUnchanged(stat) || (entry.linked && isAs(entry, stat)))) return false
  }
  setAttributes(directory, name, entry)
  return true
}

/** Where a file is to be put, in the place of what `isUnchanged` knows, or where nothing is. */
interface Place {
  readonly directory: number
  readonly name: string
  readonly entry: Entry
  readonly isUnchanged: ((stat: Stat) => boolean) | undefined
}

function putFile(writing: Writing, { directory, name, entry, isUnchanged }: Place): boolean {
  const temporary = temporaryName()
  try {
    createLike(writing, directory, temporary, entry)
    setAttributes(directory, temporary, entry)
    if (isUnchanged !== undefined) return replaceUnchanged(directory, temporary, name, isUnchanged)
    if (unlessChanged(() => (renameNewAt(directory, temporary, directory, name), true))) return true
    unlinkAt(directory, temporary)
    return false
  } catch (error) {
    removeQuietly(directory, temporary)
    throw error
  }
}

function removeQuietly(directory: number, name: string): void {
  try {
    unlinkAt(directory, name)
  } catch {
    // The error that led here is the one to be told.
  }
}

/** Whether what is there now is what was captured: nobody else has what was written since. */
function isAsCaptured({ scan }: Writing, path: string, before: Entry, stat: Stat): boolean {
  if (!isAs(before, stat)) return false
  let node: ScannedNode | undefined = scan.root
  for (const part of path === '' ? [] : path.split('/')) node = node?.children?.get(part)
  // What is done to another name of the same inode moves the ctime of this one; and so does writing inside a directory.
  if (node === undefined || node.stat.links > 1 || isDirectory(before.mode)) return true
  return node.whole && node.stat.ctime === stat.ctime
}

function isAs(entry: Entry, { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, size }: Stat): boolean {
  if (mode !== entry.mode || uid !== entry.uid || gid !== entry.gid) return false
  if (isDirectory(mode)) return true
  if (isRegularMode(mode) && size !== entry.size) return false
  return mtimeSeconds === entry.seconds && mtimeNanoseconds === entry.nanoseconds
}

function createLike({ store }: Writing, directory: number, name: string, entry: Entry): void {
  const type = entry.mode >> 12
  if (type === 10) makeSymlinkAt(directory, name, entry.data)
  else if (type !== 8) makeNodeAt(directory, name, entry.mode, entry.device)
  else {
    const file = createFileAt(directory, name, 0o600)
    try {
      if (entry.digest === undefined) writeAll(file, Buffer.from(entry.data, 'latin1'))
      else copyObject(paths.object(store, entry.digest), file)
    } finally {
      close(file)
    }
  }
}

function copyObject(path: string, to: number): void {
  const object = fs.openSync(nodePath(path), 'r')
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    for (let length = fs.readSync(object, piece); length > 0; length = fs.readSync(object, piece))
      writeAll(to, piece.subarray(0, length))
  } finally {
    fs.closeSync(object)
  }
}

/** Owner first: it clears set-user-id bits and capabilities, which come after it; the time last. */
function setAttributes(directory: number, name: string, entry: Entry): void {
  setOwnerAt(directory, name, entry.uid, entry.gid)
  const isSymlink = entry.mode >> 12 === 10
  if (!isSymlink) setModeAt(directory, name, entry.mode)
  setXattrs(directory, name, entry)
  setModificationTimeAt(directory, name, entry.seconds, entry.nanoseconds)
}

function setXattrs(directory: number, name: string, entry: Entry): void {
  const path = pathAt(directory, name)
  const before = new Map(xattrsAt(directory, name))
  for (const [key, value] of entry.xattrs) {
    if (before.get(key) !== value) setXattr(path, key, value)
    before.delete(key)
  }
  for (const key of before.keys()) removeXattr(path, key)
}

/** Names that are one inode in the target become one again, if any of them was written. */
function restoreLinks(writing: Writing): void {
  if (!writing.differences.some(({ after }) => after?.linked)) return
  for (const [first, ...others] of linkGroups(writing.target)) {
    if (writing.kept.has(first)) continue
    for (const other of others) {
      if (writing.kept.has(other) || inodeAt(writing, first) === inodeAt(writing, other)) continue
      if (!linkInPlace(writing, first, other)) writing.kept.add(other)
    }
  }
}

function linkInPlace(writing: Writing, first: string, other: string): boolean {
  const entry = entryOfView(viewAt(writing.target, first) as View)
  const isDone = inParent(writing, first, (from, source) =>
    inParent(writing, other, (to, name) => {
      const temporary = temporaryName()
      linkAt(from, source, to, temporary)
      return replaceUnchanged(to, temporary, name, stat => isAs(entry, stat))
    }),
  )
  return isDone ?? false
}

/** The paths of each inode of a tree that has several. */
function linkGroups(target: View): string[][] {
  const groups = new Map<number, string[]>()
  const visit = (view: View, path: string): void => {
    for (const [name, child] of childrenOf(view)) {
      const at = path === '' ? name : `${path}/${name}`
      const entry = entryOfView(child)
      if (isDirectory(entry.mode)) visit(child, at)
      else if (entry.linked) groups.set(child.node, [...(groups.get(child.node) ?? []), at])
    }
  }
  visit(target, '')
  return [...groups.values()].map(group => group.sort())
}

function inodeAt(writing: Writing, path: string): bigint | undefined {
  return inParent(writing, path, (directory, name) => statIfThere(directory, name)?.inode)
}

/** Writing into directories moved their times: those of all that were touched, and of their parents, are set again, the deepest first. */
function restoreDirectories(writing: Writing): void {
  const touched = new Set<string>()
  for (const { path, after } of writing.differences) {
    if (after !== undefined && isDirectory(after.mode)) touched.add(path)
    for (let at = path; at !== ''; ) {
      at = at.includes('/') ? at.slice(0, at.lastIndexOf('/')) : ''
      touched.add(at)
    }
  }
  for (const path of [...touched].sort().reverse()) {
    const view = viewAt(writing.target, path)
    if (view === undefined || !isDirectory(entryOfView(view).mode)) continue
    const { seconds, nanoseconds } = entryOfView(view)
    inParent(writing, path, (directory, name) => {
      if (isDirectoryMode(statIfThere(directory, name)?.mode ?? 0))
        setModificationTimeAt(directory, name, seconds, nanoseconds)
    })
  }
}

/** Undefined where the tree has no such path: what was a directory may be a file there. */
function viewAt(root: View, path: string): View | undefined {
  let view: View | undefined = root
  for (const part of path === '' ? [] : path.split('/'))
    view = view !== undefined && isDirectory(entryOfView(view).mode) ? childrenOf(view).get(part) : undefined
  return view
}
