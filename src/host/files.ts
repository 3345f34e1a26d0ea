import fs from 'node:fs'
import os from 'node:os'
import { isErrno } from '../errors/errno.ts'
import { step } from './faults.ts'
import { check, errorOf, libc } from './libc.ts'
import { renameNew, setModificationTimeAt } from './descriptors.ts'
import { randomHex } from './random.ts'
import { nodePath } from '../names/text.ts'

/** Writing so that it is there after a power loss, and reading whole files. Paths are latin1 text. */
const syncfs = libc.func('int syncfs(int descriptor)')
const lseek = libc.func('int64_t lseek(int descriptor, int64_t offset, int whence)')
const ioctl = libc.func('int ioctl(int descriptor, unsigned long request, long argument)')
const ioctlFlags = libc.func('int ioctl(int descriptor, unsigned long request, _Inout_ int *flags)')
const AT_FDCWD = -100

/** Makes everything written to the file system of this path durable. */
export function syncFileSystem(path: string): void {
  step('syncfs')
  const descriptor = fs.openSync(nodePath(path), 'r')
  try {
    check(syncfs(descriptor), 'syncfs', path)
  } finally {
    fs.closeSync(descriptor)
  }
}

/**
 * The same beside what this thread does meanwhile: what was written before the call is durable when the promise is kept. Why it failed is
 * known to the thread of the call alone; what writing back can meet is EIO.
 */
export async function syncFileSystemAside(path: string): Promise<void> {
  step('syncfs')
  const descriptor = fs.openSync(nodePath(path), 'r')
  try {
    const result = await new Promise<number>((resolve, reject) =>
      syncfs.async(descriptor, (error: Error | null, value: number) => (error ? reject(error) : resolve(value))),
    )
    if (result !== 0) throw errorOf(os.constants.errno.EIO, 'syncfs', path)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Makes the names in a directory durable. */
export function syncDirectory(path: string): void {
  step('fsync')
  const descriptor = fs.openSync(nodePath(path), fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

export function syncDescriptor(descriptor: number): void {
  step('fsync')
  fs.fsyncSync(descriptor)
}

/** The same beside what this thread does meanwhile. */
export async function syncDescriptorAside(descriptor: number): Promise<void> {
  step('fsync')
  await new Promise<void>((resolve, reject) => fs.fsync(descriptor, error => (error ? reject(error) : resolve())))
}

interface WriteOptions {
  mode?: number
  /** False for what may be lost with a power loss: /run, caches. `bytes`: whoever calls makes the name durable, with others. */
  durable?: boolean | 'bytes'
  /** Done when the bytes are durable and before they are in place: what has to be durable before. */
  before?: () => void
  /** EEXIST if the file is there. */
  isNew?: boolean
}

/** Puts a whole file in the place of what is there, in one step: whoever reads finds the old bytes or the new ones. */
export function replaceFile(
  path: string,
  content: string | Uint8Array,
  { mode = 0o644, durable = true, before, isNew = false }: WriteOptions = {},
): void {
  const temporary = `${parentOf(path)}/${TEMPORARY_PREFIX}${randomHex(6)}-${nameOf(path)}`
  step('create')
  const descriptor = fs.openSync(nodePath(temporary), 'wx', mode)
  try {
    writeAll(descriptor, typeof content === 'string' ? Buffer.from(content) : content)
    if (durable !== false) syncDescriptor(descriptor)
    before?.()
    if (isNew) renameNew(temporary, path)
    else rename(temporary, path)
  } catch (error) {
    removeIfExists(temporary)
    throw error
  } finally {
    fs.closeSync(descriptor)
  }
  if (durable === true) syncDirectory(parentOf(path))
}

/** Writes a whole file over the old one, which may be left torn or lost: only for what its readers can tell and do without. */
export function overwriteFile(path: string, text: string): void {
  step('create')
  const descriptor = fs.openSync(nodePath(path), 'w', 0o600)
  try {
    writeAll(descriptor, Buffer.from(text))
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Names of files that are being written begin so; no label, tag or other name of the store does. */
export const TEMPORARY_PREFIX = '.new-'

/**
 * Removes what `replaceFile` left in a folder where it was killed, of all names or of those that are meant. The caller's lock says that
 * nobody writes them now.
 */
export function removeTemporaries(folder: string, isMeant: (name: string) => boolean = () => true): void {
  for (const name of listNames(folder)) {
    const written = name.startsWith(TEMPORARY_PREFIX) ? name.slice(name.indexOf('-', TEMPORARY_PREFIX.length) + 1) : ''
    if (written !== '' && isMeant(written)) removeIfExists(`${folder}/${name}`)
  }
}

/** Writes all bytes at the place where the descriptor stands, or at `position`. */
export function writeAll(descriptor: number, bytes: Uint8Array, position: number | null = null): void {
  step('write')
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(descriptor, bytes, done, bytes.length - done, position === null ? null : position + done)
  }
}

/** Appends to a file in one call and makes it durable, with its name if it is made now. */
export function appendDurable(path: string, text: string): void {
  const isNew = !exists(path)
  step('append')
  const descriptor = fs.openSync(
    nodePath(path),
    fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT,
    0o644,
  )
  try {
    writeAll(descriptor, Buffer.from(text))
    syncDescriptor(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
  if (isNew) syncDirectory(parentOf(path))
}

/** Cuts a file to so many bytes. */
export function truncateFile(path: string, bytes: number): void {
  step('truncate')
  fs.truncateSync(nodePath(path), bytes)
}

export function readBytes(path: string): Buffer {
  return fs.readFileSync(nodePath(path))
}

export function readText(path: string): string {
  return fs.readFileSync(nodePath(path), 'utf8')
}

export function readTextIfExists(path: string): string | undefined {
  try {
    return readText(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

export function exists(path: string): boolean {
  return fs.existsSync(nodePath(path))
}

/** Names in a directory as bytes in latin1; none when it is missing. */
export function listNames(path: string): string[] {
  try {
    return fs.readdirSync(nodePath(path), 'latin1')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

/** Whether it was made now; false if it was there. */
export function makeDirectory(path: string, mode = 0o755): boolean {
  step('mkdir')
  try {
    fs.mkdirSync(nodePath(path), { mode })
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

/** With all that is missing above it. */
export function makeDirectories(path: string, mode = 0o755): void {
  step('mkdir')
  fs.mkdirSync(nodePath(path), { recursive: true, mode })
}

export function rename(from: string, to: string): void {
  step('rename')
  fs.renameSync(nodePath(from), nodePath(to))
}

export function removeFile(path: string): void {
  step('unlink')
  fs.unlinkSync(nodePath(path))
}

/** Whether something was there. */
export function removeIfExists(path: string): boolean {
  try {
    removeFile(path)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/** Whether an empty directory was there and is gone. */
export function removeEmptyDirectory(path: string): boolean {
  step('rmdir')
  try {
    fs.rmdirSync(nodePath(path))
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST', 'EBUSY')) return false
    throw error
  }
}

/** Removes a whole tree that belongs to Stratum alone (staging, trash). */
export function removeTree(path: string): void {
  step('rm')
  fs.rmSync(nodePath(path), { recursive: true, force: true })
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

const FICLONE = 0x40049409
const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC_SETFLAGS = 0x40086602
const FS_IMMUTABLE_FL = 0x10
const SEEK_DATA = 3
const SEEK_HOLE = 4

/** Lets `to` share all blocks of `from`. False where the file system cannot. */
export function cloneFile(from: number, to: number): boolean {
  step('clone')
  try {
    check(ioctl(to, FICLONE, from), 'ioctl')
    return true
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOTSUP', 'EXDEV', 'EINVAL', 'ENOTTY', 'ETXTBSY')) return false
    throw error
  }
}

/** The next piece of data at or behind `position`, or undefined when only a hole is left. */
export function nextData(
  descriptor: number,
  position: number,
  size: number,
): { start: number; end: number } | undefined {
  try {
    const start = check(Number(lseek(descriptor, position, SEEK_DATA)), 'lseek')
    return { start, end: check(Number(lseek(descriptor, start, SEEK_HOLE)), 'lseek') }
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return undefined
    if (isErrno(error, 'EINVAL', 'EOPNOTSUPP')) return position < size ? { start: position, end: size } : undefined
    throw error
  }
}

/** Sets or clears the flag that keeps everybody from changing a file or directory. False where the file system knows none. */
export function setImmutable(path: string, immutable: boolean): boolean {
  step('chattr')
  const descriptor = fs.openSync(nodePath(path), 'r')
  try {
    const flags: [number] = [0]
    check(ioctlFlags(descriptor, FS_IOC_GETFLAGS, flags), 'ioctl', path)
    flags[0] = immutable ? flags[0] | FS_IMMUTABLE_FL : flags[0] & ~FS_IMMUTABLE_FL
    check(ioctlFlags(descriptor, FS_IOC_SETFLAGS, flags), 'ioctl', path)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOTTY', 'EOPNOTSUPP', 'ENOTSUP', 'EPERM', 'EINVAL')) return false
    throw error
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Sets the modification time to the nanosecond, of the name itself; the access time stays. */
export function setModificationTime(path: string, seconds: number, nanoseconds: number): void {
  setModificationTimeAt(AT_FDCWD, path, seconds, nanoseconds)
}

/** Owner and permissions of a directory or file. */
export function setOwnerAndMode(path: string, uid: number, gid: number, mode: number): void {
  step('chown')
  fs.lchownSync(nodePath(path), uid, gid)
  setMode(path, mode)
}

/** Permissions of a file or directory. */
export function setMode(path: string, mode: number): void {
  step('chmod')
  fs.chmodSync(nodePath(path), mode)
}

/** Sets the permissions of an open file, be they as before: its ctime is now. */
export function touchWithMode(descriptor: number, mode: number): void {
  step('chmod')
  fs.fchmodSync(descriptor, mode)
}

/** Bytes and inodes of the file system that a path is on. */
export function fileSystemSpace(path: string): {
  bytes: number
  freeBytes: number
  inodes: number
  freeInodes: number
  type: number
} {
  const { bsize, blocks, bavail, files, ffree, type } = fs.statfsSync(nodePath(path))
  return { bytes: bsize * blocks, freeBytes: bsize * bavail, inodes: files, freeInodes: ffree, type }
}
