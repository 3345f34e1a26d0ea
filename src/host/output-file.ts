import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { nodePath } from '../names/text.ts'
import { renameNew } from './descriptors.ts'
import { step } from './faults.ts'
import { listNames, parentOf, removeIfExists, rename, syncDescriptor, syncDirectory } from './files.ts'
import { check, cString, libc } from './libc.ts'
import { tryLock } from './locks.ts'
import { randomHex } from './random.ts'

const linkat = libc.func('int linkat(int from, void *source, int to, void *target, int flags)')
const AT_FDCWD = -100
const AT_SYMLINK_FOLLOW = 0x400
/** __O_TMPFILE; O_DIRECTORY is another number on each architecture. */
const O_TMPFILE = 0o20000000 | fs.constants.O_DIRECTORY

/** A file for a user that is there whole or not at all. */
export interface OutputFile extends Disposable {
  readonly descriptor: number
  /** Makes it durable and gives it its name. EEXIST if something of that name is there and is not to be replaced. */
  publish(): void
}

/** Names of files that are whole but do not have their own name yet, or that are being written where they cannot be without one. */
const TEMPORARY = /^\.stratum-export-[0-9a-f]{16}$/

/**
 * Begins a file in the folder of its final path. Where the file system can, it has no name until it is whole, so that nothing is left of
 * it if the process dies; elsewhere, and for the moment in which it replaces another, what is left is cleared away by the next export.
 */
export function createOutputFile(path: string, { replace }: { replace: boolean }): OutputFile {
  const folder = parentOf(path)
  clearLeftovers(folder)
  const temporary = `${folder}/.stratum-export-${randomHex(8)}`
  const unnamed = createUnnamed(folder)
  const descriptor = unnamed ?? fs.openSync(nodePath(temporary), 'wx+', 0o666)
  tryLock(descriptor, 'exclusive')
  let name = unnamed === undefined ? temporary : undefined
  const give = (to: string): void => {
    if (name === undefined) linkDescriptor(descriptor, to)
    else renameToNew(name, to)
    name = to
  }
  return {
    descriptor,
    publish() {
      syncDescriptor(descriptor)
      try {
        give(path)
      } catch (error) {
        if (!replace || !isErrno(error, 'EEXIST')) throw error
        if (name === undefined) give(temporary)
        rename(temporary, path)
      }
      name = undefined
      syncDirectory(folder)
    },
    [Symbol.dispose]() {
      fs.closeSync(descriptor)
      if (name !== undefined) removeIfExists(name)
    },
  }
}

/** NFS cannot rename without replacing, but link. */
function renameToNew(from: string, to: string): void {
  try {
    renameNew(from, to)
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'ENOSYS')) throw error
    fs.linkSync(nodePath(from), nodePath(to))
    removeIfExists(from)
  }
}

/** Whoever writes such a file holds a lock on it. What cannot be opened, or is no file, is somebody else's. */
function clearLeftovers(folder: string): void {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants
  for (const name of listNames(folder).filter(each => TEMPORARY.test(each))) {
    let file: number
    try {
      file = fs.openSync(nodePath(`${folder}/${name}`), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    } catch {
      continue
    }
    try {
      if (fs.fstatSync(file).isFile() && tryLock(file, 'exclusive')) removeIfExists(`${folder}/${name}`)
    } finally {
      fs.closeSync(file)
    }
  }
}

/** A file that nobody else ever sees, for what has to be written before it can be read in order. */
export function createUnnamedFile(folder: string): number {
  const unnamed = createUnnamed(folder)
  if (unnamed !== undefined) return unnamed
  const temporary = `${folder}/.stratum-export-${randomHex(8)}`
  const descriptor = fs.openSync(nodePath(temporary), 'wx+', 0o600)
  removeIfExists(temporary)
  return descriptor
}

function createUnnamed(folder: string): number | undefined {
  try {
    step('create')
    return fs.openSync(nodePath(folder), O_TMPFILE | fs.constants.O_RDWR, 0o666)
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOTSUP', 'EISDIR', 'EINVAL')) return undefined
    throw error
  }
}

function linkDescriptor(descriptor: number, path: string): void {
  step('link')
  check(
    linkat(AT_FDCWD, cString(`/proc/self/fd/${descriptor}`), AT_FDCWD, cString(path), AT_SYMLINK_FOLLOW),
    'link',
    path,
  )
}
