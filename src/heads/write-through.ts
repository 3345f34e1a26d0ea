import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
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
  renameAt,
  setModeAt,
  setModificationTimeAt,
  setOwnerAt,
  unlinkAt,
} from '../host/descriptors.ts'
import { syncFileSystem, writeAll } from '../host/files.ts'
import { statAt } from '../host/stat.ts'
import { pathAt, removeXattr, setXattr, xattrsAt } from '../host/xattrs.ts'
import { nodePath } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { isDirectory } from '../tree/append.ts'
import { childrenOf, type Difference, entryOfView, type View } from '../tree/diff.ts'
import type { Entry } from '../tree/entry.ts'

/**
 * Makes the differences between two trees in a mounted HEAD that may be in use: each file is written beside its place and renamed, so that
 * whoever has the old one open keeps it. Works by descriptors: a symlink that somebody puts in the way is not followed.
 */
export function writeThrough(store: Store, mountpoint: string, target: View, differences: readonly Difference[]): void {
  const root = openDirectory(mountpoint)
  try {
    const writing: Writing = { store, root, target }
    for (const { kind, path, before } of [...differences].reverse())
      if (kind === '-' || kind === 'T') remove(writing, path, before)
    for (const difference of differences) if (difference.kind !== '-') put(writing, difference)
    restoreLinks(writing, differences)
    restoreDirectories(writing, differences)
    syncFileSystem(mountpoint)
    syncFileSystem(store.path)
  } finally {
    close(root)
  }
}

interface Writing {
  readonly store: Store
  /** Descriptor of the mount's root. */
  readonly root: number
  readonly target: View
}

const PIECE_BYTES = 1 << 20
const SELF = '.'

/** Calls `work` with the open directory that a path is in, and its name there. */
function inParent<T>({ root }: Writing, path: string, work: (directory: number, name: string) => T): T {
  const parts = path === '' ? [] : path.split('/')
  const name = parts.pop() ?? SELF
  const opened: number[] = []
  try {
    for (const part of parts) opened.push(openDirectoryAt(opened.at(-1) ?? root, part))
    return work(opened.at(-1) ?? root, name)
  } finally {
    for (const directory of opened) close(directory)
  }
}

function remove(writing: Writing, path: string, before: Entry | undefined): void {
  inParent(writing, path, (directory, name) => {
    try {
      if (isDirectory(before?.mode ?? 0)) removeDirectoryAt(directory, name)
      else unlinkAt(directory, name)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error // somebody else removed it meanwhile
    }
  })
}

function put(writing: Writing, { kind, path, after, contentChanged }: Difference): void {
  const entry = after as Entry
  inParent(writing, path, (directory, name) => {
    const isNew = kind !== 'M'
    if (!isDirectory(entry.mode) && (isNew || contentChanged)) return putFile(writing, directory, name, entry)
    if (isNew) makeDirectoryAt(directory, name, 0o700)
    setAttributes(directory, name, entry)
  })
}

function putFile(writing: Writing, directory: number, name: string, entry: Entry): void {
  const temporary = `.stratum-${randomBytes(6).toString('hex')}`
  try {
    createLike(writing, directory, temporary, entry)
    setAttributes(directory, temporary, entry)
    renameAt(directory, temporary, directory, name)
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
function restoreLinks(writing: Writing, differences: readonly Difference[]): void {
  if (!differences.some(({ after }) => after?.linked)) return
  for (const [first, ...others] of linkGroups(writing.target)) {
    for (const other of others) {
      if (inodeAt(writing, first) === inodeAt(writing, other)) continue
      inParent(writing, first, (from, source) =>
        inParent(writing, other, (to, name) => {
          const temporary = `.stratum-${randomBytes(6).toString('hex')}`
          linkAt(from, source, to, temporary)
          renameAt(to, temporary, to, name)
        }),
      )
    }
  }
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

function inodeAt(writing: Writing, path: string): bigint {
  return inParent(writing, path, (directory, name) => statAt(directory, name).inode)
}

/** Writing into directories moved their times: those of all that were touched, and of their parents, are set again, the deepest first. */
function restoreDirectories(writing: Writing, differences: readonly Difference[]): void {
  const touched = new Set<string>()
  for (const { path, after } of differences) {
    if (after !== undefined && isDirectory(after.mode)) touched.add(path)
    for (let at = path; at !== ''; ) {
      at = at.includes('/') ? at.slice(0, at.lastIndexOf('/')) : ''
      touched.add(at)
    }
  }
  for (const path of [...touched].sort().reverse()) {
    const view = viewAt(writing.target, path)
    if (view === undefined) continue
    const { seconds, nanoseconds } = entryOfView(view)
    inParent(writing, path, (directory, name) => setModificationTimeAt(directory, name, seconds, nanoseconds))
  }
}

function viewAt(root: View, path: string): View | undefined {
  let view: View | undefined = root
  for (const part of path === '' ? [] : path.split('/'))
    view = view === undefined ? undefined : childrenOf(view).get(part)
  return view
}
