import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import {
  D_TYPE,
  type DirectoryEntry,
  openDirectory,
  openDirectoryAt,
  readDirectory,
  readLinkAt,
} from '../host/descriptors.ts'
import {
  isCharacterMode,
  isDirectoryMode,
  isRegularMode,
  isSymlinkMode,
  type Stat,
  statAt,
  statDescriptor,
  statPath,
} from '../host/stat.ts'
import { toUser } from '../names/text.ts'
import { xattrsAt, xattrsOfDescriptor } from '../host/xattrs.ts'
import type { Store } from '../store/layout.ts'
import { type Change, childChange, type Entry, INLINE_BYTES_MAX } from '../tree/entry.ts'
import { entryOf } from '../tree/to-entry.ts'
import type { HashCache, HashRecorder } from './hash-cache.ts'
import type { FileReading } from './read-file.ts'
import { holdDirectory, type OpenDirectory } from './open-directory.ts'
import type { ReaderPool } from './reader-pool.ts'

/** What an import does with other file systems that are mounted below its directory. */
export type MountsPolicy = 'refuse' | 'skip' | 'include'

export interface ImportOptions {
  readonly pool: ReaderPool
  readonly cache: HashCache
  readonly recorder: HashRecorder
  /** ctime of a file that was touched before the walk: what changed later is not remembered. */
  readonly probe: bigint
  readonly mounts: MountsPolicy
  /** Take overlayfs' whiteouts (character devices 0/0) for removals instead of refusing them. */
  readonly whiteouts?: boolean
  readonly onFile?: (bytes: number) => void
}

export interface Imported {
  /** The whole tree, as changes of nothing. */
  readonly tree: Change
  /** Paths that did not hold still while they were read. */
  readonly unstable: string[]
}

/**
 * Reads a directory that others may be changing. It is walked by descriptors, so that nothing outside is reached however names are
 * exchanged meanwhile; symlinks are never followed. @throws usage (the store is in it; a mount is in it), unsupported (cannot be stored)
 */
export async function importDirectory(store: Store, path: string, options: ImportOptions): Promise<Imported> {
  const walk: Walk = { ...options, store: statPath(store.path), rootMount: 0n, unstable: [], links: new Map() }
  const root = holdDirectory(openDirectory(path))
  try {
    const stat = statDescriptor(root.fd)
    refuseStore(walk, stat, '')
    walk.rootMount = stat.mountId
    const tree: Change = { entry: entryOf({ stat, xattrs: xattrsOfDescriptor(root.fd), path: '.' }, undefined, false) }
    await walkDirectory(walk, root, '', tree)
    await options.pool.drain()
    return { tree, unstable: walk.unstable }
  } finally {
    root.release()
  }
}

interface Walk extends ImportOptions {
  readonly store: Stat
  rootMount: bigint
  readonly unstable: string[]
  /** The entry of each inode that has several names. */
  readonly links: Map<string, Entry>
}

/** One name that is being read. */
interface Name {
  readonly parent: OpenDirectory
  readonly name: string
  /** From the root, for messages. */
  readonly path: string
  /** The directory's place in the tree. */
  readonly change: Change
}

const LIST_TRIES = 4
const ROOM_EVERY = 1024

async function walkDirectory(walk: Walk, directory: OpenDirectory, path: string, change: Change): Promise<void> {
  await walk.pool.room() // and every directory begins on an empty stack, however deep it lies
  change.children = new Map()
  let names = 0
  for (const { name, type } of listUntilStill(walk, directory.fd, path)) {
    if (++names % ROOM_EVERY === 0) await walk.pool.room()
    const place: Name = { parent: directory, name, path: `${path}${name}`, change }
    if (type === D_TYPE.directory || type === D_TYPE.unknown) await walkSubdirectory(walk, place)
    else importName(walk, place)
  }
}

/** The names of a directory as two looks at it agreed. */
function listUntilStill(walk: Walk, directory: number, path: string): DirectoryEntry[] {
  let before = statDescriptor(directory)
  for (let tries = 1; ; tries++) {
    const names = readDirectory(directory)
    const after = statDescriptor(directory)
    if (before.ctime === after.ctime) return names
    if (tries === LIST_TRIES) {
      walk.unstable.push(path || '.')
      return names
    }
    before = after
  }
}

async function walkSubdirectory(walk: Walk, place: Name): Promise<void> {
  const { parent, name, path, change } = place
  let fd: number
  try {
    fd = openDirectoryAt(parent.fd, name)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return void walk.unstable.push(path)
    if (isErrno(error, 'ENOTDIR', 'ELOOP')) return importName(walk, place)
    throw error
  }
  const directory = holdDirectory(fd)
  try {
    const stat = statDescriptor(fd)
    refuseStore(walk, stat, path)
    const entered = stat.mountId === walk.rootMount || entersMount(walk, path)
    const child = childChange(change, name)
    child.entry = entryOf({ stat, xattrs: entered ? xattrsOfDescriptor(fd) : [], path }, undefined, false)
    if (entered) await walkDirectory(walk, directory, `${path}/`, child)
  } finally {
    directory.release()
  }
}

function refuseStore(walk: Walk, stat: Stat, path: string): void {
  if (stat.inode !== walk.store.inode || stat.fileSystem !== walk.store.fileSystem) return
  if (path === '') throw new StratumError('usage', 'the directory is the store itself')
  throw new StratumError('usage', `the store is inside the directory, at ${toUser(path)}`, {
    hint: 'Import what you need from beside it',
  })
}

function entersMount({ mounts }: Walk, path: string): boolean {
  if (mounts !== 'refuse') return mounts === 'include'
  throw new StratumError('usage', `another file system is mounted at ${toUser(path)}, inside the directory`, {
    hint: 'Leave it out with --one-file-system, or take it along with --include-mounts',
  })
}

/** A name that the directory says is no directory. What it is now, stat(2) tells. */
function importName(walk: Walk, place: Name): void {
  const stat = statIfThere(place.parent.fd, place.name)
  if (stat === undefined || isDirectoryMode(stat.mode)) return void walk.unstable.push(place.path)
  const known = stat.links > 1 ? walk.links.get(inodeKey(stat)) : undefined
  if (known !== undefined) childChange(place.change, place.name).entry = known
  else if (!isRegularMode(stat.mode)) importSpecial(walk, place, stat)
  else if (!takeFromCache(walk, place, stat)) readRegular(walk, place, stat)
}

/** A symlink, device, fifo or socket. */
function importSpecial(walk: Walk, place: Name, stat: Stat): void {
  const { parent, name, path, change } = place
  if (walk.whiteouts && isCharacterMode(stat.mode) && stat.device === 0) {
    childChange(change, name).entry = null
    return
  }
  try {
    const data = isSymlinkMode(stat.mode) ? readLinkAt(parent.fd, name) : ''
    addFile(walk, place, { stat, xattrs: xattrsAt(parent.fd, name), content: { size: 0, digest: undefined, data } })
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EINVAL')) throw error
    walk.unstable.push(path) // it was removed or replaced since it was looked at
  }
}

function takeFromCache(walk: Walk, place: Name, stat: Stat): boolean {
  const known = stat.size > INLINE_BYTES_MAX ? walk.cache.find(stat) : undefined
  if (known === undefined || !walk.pool.objects.has(known.digest, stat.size)) return false
  const xattrs = known.hasXattrs ? xattrsAt(place.parent.fd, place.name) : []
  addFile(walk, place, { stat, xattrs, content: { size: stat.size, digest: known.digest, data: '' } })
  walk.recorder.add(stat, known)
  return true
}

function readRegular(walk: Walk, place: Name, stat: Stat): void {
  place.parent.hold()
  walk.pool.read(place.parent.fd, place.name, stat.size, reading => {
    place.parent.release()
    if (reading === undefined || !reading.stable) walk.unstable.push(place.path)
    if (reading === undefined) return
    addFile(walk, place, reading)
    remember(walk, reading)
  })
}

/** Puts a file into the tree. Names of one inode get one entry, the first that was made. */
function addFile(
  walk: Walk,
  { change, name, path }: Name,
  { stat, xattrs, content }: Pick<FileReading, 'stat' | 'xattrs' | 'content'>,
): void {
  const linked = stat.links > 1
  const key = linked ? inodeKey(stat) : ''
  const entry = (linked ? walk.links.get(key) : undefined) ?? entryOf({ stat, xattrs, path }, content, linked)
  if (linked) walk.links.set(key, entry)
  childChange(change, name).entry = entry
  walk.onFile?.(content.size)
}

function inodeKey({ fileSystem, inode }: Stat): string {
  return `${fileSystem}:${inode}`
}

function remember({ probe, recorder }: Walk, { stat, xattrs, content, stable, quiet }: FileReading): void {
  if (content.digest === undefined || !stable || !quiet || stat.ctime >= probe) return
  recorder.add(stat, { digest: content.digest, hasXattrs: xattrs.length > 0 })
}

function statIfThere(directory: number, name: string): Stat | undefined {
  try {
    return statAt(directory, name)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
