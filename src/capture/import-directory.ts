import type { Xattr } from '../erofs/xattrs.ts'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import {
  close,
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
  sameState,
  statAt,
  statDescriptor,
  statPath,
} from '../host/stat.ts'
import { toUser } from '../names/text.ts'
import { xattrsAt, xattrsOfDescriptor } from '../host/xattrs.ts'
import type { Store } from '../store/layout.ts'
import { type Change, childChange, type Entry, INLINE_BYTES_MAX } from '../tree/entry.ts'
import { entryOf } from '../tree/to-entry.ts'
import { createHashRecorder, type HashCache, type HashRecorder, openHashCache, volumeOf } from './hash-cache.ts'
import type { FileReading } from './read-file.ts'
import { holdDirectory, type OpenDirectory } from './open-directory.ts'
import type { ReaderPool } from './reader-pool.ts'

/** What an import does with other file systems that are mounted below its directory. */
export type MountsPolicy = 'refuse' | 'skip' | 'include'

export interface ImportOptions {
  readonly pool: ReaderPool
  /** Where the hashes of files are remembered that held still. */
  readonly cachePath: string
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
  /** Remembers the hashes of files that held still. To be called when their objects are in the store. */
  saveHashes(): void
}

/**
 * Reads a directory that others may be changing. It is walked by descriptors, so that nothing outside is reached however names are
 * exchanged meanwhile; symlinks are never followed. @throws usage (the store is in it; a mount is in it), unsupported (cannot be stored)
 */
export async function importDirectory(store: Store, path: string, options: ImportOptions): Promise<Imported> {
  const root = holdDirectory(openDirectory(path))
  try {
    const stat = statDescriptor(root.fd)
    const volume = volumeOf(root.fd)
    const walk: Walk = {
      ...options,
      store: statPath(store.path),
      rootMount: stat.mountId,
      cache: openHashCache(options.cachePath, volume),
      recorder: createHashRecorder(),
      unstable: [],
      listed: [],
      links: new Map(),
    }
    refuseStore(walk, stat, '')
    const tree: Change = { entry: entryOf({ stat, xattrs: xattrsOfDescriptor(root.fd), path: '.' }, undefined, false) }
    await walkDirectory(walk, root, '', tree)
    await options.pool.drain()
    reportMoved(walk, root.fd)
    return { tree, unstable: walk.unstable, saveHashes: () => walk.recorder.save(options.cachePath, volume) }
  } finally {
    root.release()
  }
}

interface Walk extends ImportOptions {
  readonly store: Stat
  readonly rootMount: bigint
  readonly cache: HashCache
  readonly recorder: HashRecorder
  readonly unstable: string[]
  /** Directories, each with a slash behind it, and their ctime when they were listed. */
  readonly listed: { readonly path: string; readonly ctime: bigint }[]
  /** Each inode that has several names, as its first name was read. */
  readonly links: Map<string, { readonly stat: Stat; readonly entry: Entry }>
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
    if (isDirectoryEntry(place, type)) await walkSubdirectory(walk, place)
    else importName(walk, place)
  }
}

/** Some file systems do not tell in a listing what a name is. */
function isDirectoryEntry({ parent, name }: Name, type: number): boolean {
  if (type !== D_TYPE.unknown) return type === D_TYPE.directory
  return isDirectoryMode(statIfThere(parent.fd, name)?.mode ?? 0)
}

/** Directories in which names came or went since they were listed: a file that was moved may be missing, or be there twice. */
function reportMoved({ listed, unstable }: Walk, root: number): void {
  for (const { path, ctime } of listed)
    if (statBelow(root, `${path}.`)?.ctime !== ctime) unstable.push(path.slice(0, -1) || '.')
}

/** Undefined if it is gone. A path that the kernel does not take as a whole is walked in pieces. */
function statBelow(directory: number, path: string): Stat | undefined {
  if (path.length < PATH_BYTES_MAX) return statIfThere(directory, path)
  const cut = path.lastIndexOf('/', PATH_BYTES_MAX)
  let below: number | undefined
  try {
    below = openDirectoryAt(directory, path.slice(0, cut))
    return statBelow(below, path.slice(cut + 1))
  } catch (error) {
    if (isErrno(error, ...REPLACED)) return undefined
    throw error
  } finally {
    if (below !== undefined) close(below)
  }
}

/** PATH_MAX with its final NUL, and a margin. */
const PATH_BYTES_MAX = 4000

/** The names of a directory as two looks at it agreed, if it ever held still so long. */
function listUntilStill(walk: Walk, directory: number, path: string): DirectoryEntry[] {
  let before = statDescriptor(directory)
  for (let tries = 1; ; tries++) {
    const names = readDirectory(directory)
    const after = statDescriptor(directory)
    if (before.ctime === after.ctime || tries === LIST_TRIES) {
      walk.listed.push({ path, ctime: before.ctime })
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
  if (known !== undefined && sameState(known.stat, stat)) childChange(place.change, place.name).entry = known.entry
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
    const xattrs = xattrsAt(parent.fd, name)
    if (!sameState(stat, statAt(parent.fd, name))) walk.unstable.push(path)
    addFile(walk, place, { stat, xattrs, content: { size: 0, digest: undefined, data } })
  } catch (error) {
    if (!isErrno(error, ...REPLACED)) throw error
    walk.unstable.push(path)
  }
}

/** What a call on a name says that was removed, or became another kind of file, since stat(2). */
const REPLACED = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL']

function takeFromCache(walk: Walk, place: Name, stat: Stat): boolean {
  const isOwnMount = stat.mountId === walk.rootMount
  const known = isOwnMount && stat.size > INLINE_BYTES_MAX ? walk.cache.find(stat) : undefined
  if (known === undefined || !walk.pool.objects.has(known.digest, stat.size)) return false
  const xattrs = known.hasXattrs ? xattrsIfSame(place, stat) : []
  if (xattrs === undefined) return false
  addFile(walk, place, { stat, xattrs, content: { size: stat.size, digest: known.digest, data: '' } })
  walk.recorder.add(stat, known)
  return true
}

/** Undefined if the name may be another file's by now. */
function xattrsIfSame({ parent, name }: Name, stat: Stat): readonly Xattr[] | undefined {
  try {
    const xattrs = xattrsAt(parent.fd, name)
    return sameState(stat, statAt(parent.fd, name)) ? xattrs : undefined
  } catch (error) {
    if (isErrno(error, ...REPLACED)) return undefined
    throw error
  }
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

/** Puts a file into the tree. Names of one inode get one entry, the first that was made, unless something happened to it in between. */
function addFile(
  walk: Walk,
  { change, name, path }: Name,
  { stat, xattrs, content }: Pick<FileReading, 'stat' | 'xattrs' | 'content'>,
): void {
  const linked = stat.links > 1
  const known = linked ? walk.links.get(inodeKey(stat)) : undefined
  if (known !== undefined && !sameState(known.stat, stat)) walk.unstable.push(path)
  const isSame = known !== undefined && sameState(known.stat, stat)
  const entry = isSame ? known.entry : entryOf({ stat, xattrs, path }, content, linked)
  if (linked && !isSame) walk.links.set(inodeKey(stat), { stat, entry })
  childChange(change, name).entry = entry
  walk.onFile?.(content.size)
}

function inodeKey({ fileSystem, inode }: Stat): string {
  return `${fileSystem}:${inode}`
}

function remember({ probe, recorder, rootMount }: Walk, { stat, xattrs, content, stable, quiet }: FileReading): void {
  if (content.digest === undefined || !stable || !quiet || stat.ctime >= probe || stat.mountId !== rootMount) return
  recorder.add(stat, { digest: content.digest, hasXattrs: xattrs.length > 0 })
}

function statIfThere(directory: number, name: string): Stat | undefined {
  try {
    return statAt(directory, name)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
