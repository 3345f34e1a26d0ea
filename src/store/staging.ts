import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { close, openDirectory, openFileAt, openLockFileAt } from '../host/descriptors.ts'
import { listNames, makeDirectory, removeEmptyDirectory, removeIfExists, removeTree, rename } from '../host/files.ts'
import { tryLock } from '../host/locks.ts'
import { isOtherThanDirectoryAt, statDescriptor, statIfExists } from '../host/stat.ts'
import { randomHex } from '../host/random.ts'
import { nodePath } from '../names/text.ts'
import { paths, type Store } from './layout.ts'

/** A folder for writes in progress. Its owner file is locked for as long as its maker lives; after that anybody may clear it away. */
export interface Staging extends Disposable {
  readonly path: string
  /** Removes the folder with what is left in it. */
  discard(): void
}

const OWNER = 'owner'
/** Suffix of a folder whose owner file is not locked yet. */
const UNBORN = '.new'

export function createStaging(store: Store): Staging {
  const path = `${paths.staging(store)}/${randomHex(8)}`
  const owner = createOwned(`${path}${UNBORN}`)
  rename(`${path}${UNBORN}`, path)
  let open = true
  const discard = (): void => {
    if (!open) return
    open = false
    removeOwned(path)
    close(owner)
  }
  return { path, discard, [Symbol.dispose]: discard }
}

function createOwned(path: string): number {
  for (;;) {
    makeDirectory(path)
    const owner = openOwner(path, openLockFileAt)
    if (owner === undefined) continue // somebody took the folder for a dead one's and removed it
    if (tryLock(owner, 'exclusive') && isStillThere(path, owner)) return owner
    close(owner)
  }
}

/** Whoever clears away holds the lock while it removes: once we have it, either all is there or nothing. */
function isStillThere(path: string, owner: number): boolean {
  return statIfExists(`${path}/${OWNER}`)?.inode === statDescriptor(owner).inode
}

/** Undefined if folder or file are missing. Only its maker makes the file: else a folder would never be empty while it is removed. */
function openOwner(path: string, open: (directory: number, name: string) => number): number | undefined {
  let directory: number | undefined
  try {
    directory = openDirectory(path)
    return open(directory, OWNER)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EROFS')) return undefined
    throw error
  } finally {
    if (directory !== undefined) close(directory)
  }
}

/** The owner file goes last: whatever else is left when this is cut off has an owner, who is dead. */
function removeOwned(path: string): void {
  for (const name of listNames(path)) if (name !== OWNER) removeTree(`${path}/${name}`)
  removeIfExists(`${path}/${OWNER}`)
  removeEmptyDirectory(path)
}

/**
 * Content without an owner file: only a power loss leaves that, for the file is made before and removed after everything else. A folder
 * that is not born yet may have got its owner since it was looked for.
 */
function removeOrphan(path: string): boolean {
  if (path.endsWith(UNBORN) || statIfExists(`${path}/${OWNER}`) !== undefined || statIfExists(path) === undefined)
    return false
  removeTree(path)
  return true
}

/** Clears away what dead processes left, and what is no folder and so none of ours. Returns how many there were. */
export function clearStaleStaging(store: Store): number {
  let cleared = 0
  for (const name of listNames(paths.staging(store))) {
    const path = `${paths.staging(store)}/${name}`
    if (removeIfDead(path)) cleared++
  }
  return cleared
}

function removeIfDead(path: string): boolean {
  const owner = openOwner(path, openFileAt)
  if (owner === undefined)
    return isOtherThanDirectoryAt(path) ? removeIfExists(path) : removeEmptyDirectory(path) || removeOrphan(path)
  try {
    if (!tryLock(owner, 'exclusive') || !isStillThere(path, owner)) return false
    removeOwned(path)
    return true
  } finally {
    close(owner)
  }
}

/** How many of them dead processes left. */
export function countStaleStaging(store: Store): number {
  return listNames(paths.staging(store)).filter(name => isOwnerDead(`${paths.staging(store)}/${name}`)).length
}

/**
 * Asked without changing anything. In a folder that is not born yet nothing was written. One without an owner file that is empty is being
 * removed just now; with something in it, it is what a power loss left, or none of ours.
 */
function isOwnerDead(path: string): boolean {
  if (path.endsWith(UNBORN)) return false
  let owner: number
  try {
    owner = fs.openSync(nodePath(`${path}/${OWNER}`), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return listNames(path).length > 0
    if (isErrno(error, 'ENOTDIR')) return true
    throw error
  }
  try {
    return tryLock(owner, 'exclusive') && isStillThere(path, owner)
  } finally {
    fs.closeSync(owner)
  }
}
