import fs from 'node:fs'
import { randomBytes } from 'node:crypto'
import { isErrno } from '../errors/errno.ts'
import { nodePath } from '../names/text.ts'
import { renameNew } from './descriptors.ts'
import { step } from './faults.ts'
import { parentOf, removeIfExists, rename, syncDescriptor, syncDirectory, TEMPORARY_PREFIX } from './files.ts'
import { check, cString, libc } from './libc.ts'

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

/**
 * Begins a file in the folder of its final path. Where the file system can, it has no name until it is whole, so that nothing is left of
 * it if the process dies; elsewhere it has a name that begins with `.new-`.
 */
export function createOutputFile(path: string, { replace }: { replace: boolean }): OutputFile {
  const folder = parentOf(path)
  const temporary = `${folder}/${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`
  step('create')
  const unnamed = createUnnamed(folder)
  const descriptor = unnamed ?? fs.openSync(nodePath(temporary), 'wx+', 0o666)
  let hasName = unnamed === undefined
  return {
    descriptor,
    publish() {
      syncDescriptor(descriptor)
      if (!hasName && !replace) linkDescriptor(descriptor, path)
      else {
        if (!hasName) linkDescriptor(descriptor, temporary)
        hasName = true
        if (replace) rename(temporary, path)
        else renameNew(temporary, path)
        hasName = false
      }
      syncDirectory(folder)
    },
    [Symbol.dispose]() {
      fs.closeSync(descriptor)
      if (hasName) removeIfExists(temporary)
    },
  }
}

/** A file that nobody else ever sees, for what has to be written before it can be read in order. */
export function createUnnamedFile(folder: string): number {
  step('create')
  const unnamed = createUnnamed(folder)
  if (unnamed !== undefined) return unnamed
  const temporary = `${folder}/${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`
  const descriptor = fs.openSync(nodePath(temporary), 'wx+', 0o600)
  removeIfExists(temporary)
  return descriptor
}

function createUnnamed(folder: string): number | undefined {
  try {
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
