import fs from 'node:fs'
import { check, cString, libc } from './libc.ts'
import { step } from './faults.ts'

/** Calls relative to open directories: what a name is cannot be exchanged between two of them by renaming a directory above. */
const openat = libc.func('int openat(int directory, void *path, int flags, unsigned int mode)')
const mkdirat = libc.func('int mkdirat(int directory, void *path, unsigned int mode)')
const unlinkat = libc.func('int unlinkat(int directory, void *path, int flags)')
const renameat2 = libc.func('int renameat2(int from, void *source, int to, void *target, unsigned int flags)')
const readlinkat = libc.func('long readlinkat(int directory, void *path, void *buffer, size_t size)')
const lseek = libc.func('int64_t lseek(int descriptor, int64_t offset, int whence)')
const getdents = libc.func('long syscall(long number, int descriptor, void *buffer, unsigned long size)')

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_CREAT, O_EXCL, O_WRONLY } = fs.constants
const O_CLOEXEC = 0o2000000
const O_NOATIME = 0o1000000
export const O_PATH = 0o10000000
const AT_FDCWD = -100
const AT_REMOVEDIR = 0x200
const SYS_getdents64 = process.arch === 'arm64' ? 61 : 217
const DIRENTS_BYTES = 1 << 16
const RENAME_NOREPLACE = 1
const RENAME_EXCHANGE = 2

const closeCall = libc.func('int close(int descriptor)')

/** Closes a descriptor that a function of this folder opened: Node keeps its own list of those that it opened in a thread. */
export function close(descriptor: number): void {
  check(closeCall(descriptor), 'close')
}

/** Opens a directory by path, following symlinks. */
export function openDirectory(path: string): number {
  return check(openat(AT_FDCWD, cString(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), 'open', path)
}

/** Opens a directory that is a name in another; ENOTDIR or ELOOP if it is none, or a symlink. */
export function openDirectoryAt(directory: number, name: string): number {
  return check(openat(directory, cString(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0), 'open', name)
}

const openat2 = libc.func('long syscall(long number, int directory, void *path, void *how, size_t size)')
const SYS_openat2 = 437
const RESOLVE_NO_SYMLINKS = 4n
const RESOLVE_BENEATH = 8n
const HOW_BYTES = 24

/**
 * A handle of a directory by its path below another one. A symlink on the way is ELOOP, what leads out is EXDEV, and nobody can exchange
 * anything while the kernel walks (openat2(2)).
 */
export function openDirectoryBeneath(directory: number, path: string): number {
  const how = Buffer.alloc(HOW_BYTES)
  how.writeBigUInt64LE(BigInt(O_PATH | O_DIRECTORY | O_CLOEXEC), 0)
  how.writeBigUInt64LE(RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH, 16)
  return check(Number(openat2(SYS_openat2, directory, cString(path), how, HOW_BYTES)), 'open', path)
}

/** A handle of whatever has a name in a directory, a symlink itself: it can be looked at, not read. */
export function openHandleAt(directory: number, name: string): number {
  return check(openat(directory, cString(name), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), 'open', name)
}

/** Opens a file for reading; a symlink is ELOOP, a fifo does not block. Does not touch its access time. */
export function openFileAt(directory: number, name: string): number {
  const path = cString(name)
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
  const descriptor = openat(directory, path, flags | O_NOATIME, 0)
  return descriptor >= 0 ? descriptor : check(openat(directory, path, flags, 0), 'open', name)
}

/** Makes a file that must not be there yet, for writing. */
export function createFileAt(directory: number, name: string, mode: number): number {
  step('create')
  return check(
    openat(directory, cString(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode),
    'create',
    name,
  )
}

/** Opens or makes a file that serves as a lock. */
export function openLockFileAt(directory: number, name: string): number {
  return check(
    openat(directory, cString(name), fs.constants.O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600),
    'open',
    name,
  )
}

export function makeDirectoryAt(directory: number, name: string, mode: number): void {
  step('mkdir')
  check(mkdirat(directory, cString(name), mode), 'mkdir', name)
}

const symlinkat = libc.func('int symlinkat(void *target, int directory, void *path)')
const linkat = libc.func('int linkat(int from, void *source, int to, void *target, int flags)')
const mknodat = libc.func('int mknodat(int directory, void *path, unsigned int mode, uint64_t device)')
const fchownat = libc.func('int fchownat(int directory, void *path, unsigned int uid, unsigned int gid, int flags)')
const fchmodat = libc.func('int fchmodat(int directory, void *path, unsigned int mode, int flags)')
const utimensat = libc.func('int utimensat(int directory, void *path, void *times, int flags)')
const AT_SYMLINK_NOFOLLOW = 0x100
const UTIME_OMIT = 0x3ffffffen

export function makeSymlinkAt(directory: number, name: string, target: string): void {
  step('symlink')
  check(symlinkat(cString(target), directory, cString(name)), 'symlink', name)
}

/** A device, fifo or socket; `device` as the kernel encodes it. */
export function makeNodeAt(directory: number, name: string, mode: number, device: number): void {
  step('mknod')
  check(mknodat(directory, cString(name), mode, device), 'mknod', name)
}

export function linkAt(from: number, source: string, to: number, target: string): void {
  step('link')
  check(linkat(from, cString(source), to, cString(target), 0), 'link', target)
}

/** Owner of the name itself, a symlink not followed. */
export function setOwnerAt(directory: number, name: string, uid: number, gid: number): void {
  step('chown')
  check(fchownat(directory, cString(name), uid, gid, AT_SYMLINK_NOFOLLOW), 'chown', name)
}

/** Permissions; follows symlinks, which have none. */
export function setModeAt(directory: number, name: string, mode: number): void {
  step('chmod')
  check(fchmodat(directory, cString(name), mode & 0o7777, 0), 'chmod', name)
}

/** Modification time of the name itself; the access time stays. */
export function setModificationTimeAt(directory: number, name: string, seconds: number, nanoseconds: number): void {
  step('utimens')
  const times = Buffer.alloc(32)
  times.writeBigInt64LE(UTIME_OMIT, 8)
  times.writeBigInt64LE(BigInt(seconds), 16)
  times.writeBigInt64LE(BigInt(nanoseconds), 24)
  check(utimensat(directory, cString(name), times, AT_SYMLINK_NOFOLLOW), 'utimensat', name)
}

export function unlinkAt(directory: number, name: string): void {
  step('unlink')
  check(unlinkat(directory, cString(name), 0), 'unlink', name)
}

export function removeDirectoryAt(directory: number, name: string): void {
  step('rmdir')
  check(unlinkat(directory, cString(name), AT_REMOVEDIR), 'rmdir', name)
}

export function renameAt(from: number, source: string, to: number, target: string): void {
  step('rename')
  check(renameat2(from, cString(source), to, cString(target), 0), 'rename', target)
}

/** EEXIST if the target is there. */
export function renameNewAt(from: number, source: string, to: number, target: string): void {
  step('rename')
  check(renameat2(from, cString(source), to, cString(target), RENAME_NOREPLACE), 'rename', target)
}

/** Both names change places in one step. */
export function exchange(a: string, b: string): void {
  step('exchange')
  check(renameat2(AT_FDCWD, cString(a), AT_FDCWD, cString(b), RENAME_EXCHANGE), 'exchange', b)
}

export function renameNew(source: string, target: string): void {
  renameNewAt(AT_FDCWD, source, AT_FDCWD, target)
}

const linkBuffer = Buffer.alloc(4097)

export function readLinkAt(directory: number, name: string): string {
  const length = check(Number(readlinkat(directory, cString(name), linkBuffer, linkBuffer.length)), 'readlink', name)
  return linkBuffer.toString('latin1', 0, length)
}

/** One name of a directory; `type` is as in `d_type`, 0 where the file system does not tell. */
export interface DirectoryEntry {
  readonly name: string
  readonly type: number
}
export const D_TYPE = {
  unknown: 0,
  fifo: 1,
  character: 2,
  directory: 4,
  block: 6,
  regular: 8,
  symlink: 10,
  socket: 12,
} as const

const dirents = Buffer.alloc(DIRENTS_BYTES)

/** All names of an open directory without `.` and `..`, in the order of the file system. */
export function readDirectory(directory: number): DirectoryEntry[] {
  check(Number(lseek(directory, 0, 0)), 'lseek')
  const entries: DirectoryEntry[] = []
  for (;;) {
    const bytes = check(Number(getdents(SYS_getdents64, directory, dirents, DIRENTS_BYTES)), 'getdents64')
    if (bytes === 0) return entries
    for (let at = 0; at < bytes; at += dirents.readUInt16LE(at + 16)) {
      const name = dirents.toString('latin1', at + 19, dirents.indexOf(0, at + 19))
      if (name !== '.' && name !== '..') entries.push({ name, type: dirents[at + 18] })
    }
  }
}
