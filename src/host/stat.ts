import os from 'node:os'
import koffi from 'koffi'
import { check, cString, libc, systemError } from './libc.ts'

/** What statx(2) tells of a file. */
export interface Stat {
  /** st_mode: type and permissions. */
  mode: number
  links: number
  uid: number
  gid: number
  inode: bigint
  /** Bytes. */
  size: number
  /** 512-byte units that are allocated. */
  blocks: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  /** Nanoseconds since the epoch. */
  ctime: bigint
  /** The device that a device file stands for, as the kernel encodes it. */
  device: number
  /** The file system that the file is on: major << 20 | minor. */
  fileSystem: number
  mountId: bigint
  /** STATX_ATTR_* */
  attributes: number
}

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_NO_AUTOMOUNT = 0x800
const AT_EMPTY_PATH = 0x1000
const STATX_BASIC_STATS = 0x7ff
const STATX_MNT_ID = 0x1000
const STATX_ATTR_MOUNT_ROOT = 0x2000

const statx = libc.func('int statx(int directory, void *path, int flags, unsigned int mask, void *buffer)')
const buffer = Buffer.alloc(256)
const u32 = new Uint32Array(buffer.buffer, buffer.byteOffset, 64)
const u64 = new BigUint64Array(buffer.buffer, buffer.byteOffset, 32)
const EMPTY = Buffer.from([0])

/** The file itself, a symlink not followed. */
export function statPath(path: string): Stat {
  return call(AT_FDCWD, cString(path), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, path)
}

/** A name in an open directory, a symlink not followed. */
export function statAt(directory: number, name: string): Stat {
  return call(directory, cString(name), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, name)
}

export function statDescriptor(descriptor: number): Stat {
  return call(descriptor, EMPTY, AT_EMPTY_PATH, undefined)
}

/** The size of a name in an open directory; undefined where nothing is. No error is made for that, which would take longer than the call. */
export function sizeAt(directory: number, name: string): number | undefined {
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
  if (statx(directory, cString(name), flags, STATX_SIZE, buffer) === 0) return Number(u64[5])
  if (koffi.errno() === os.constants.errno.ENOENT) return undefined
  throw systemError('statx', name)
}

const STATX_SIZE = 0x200
const AT_STATX_DONT_SYNC = 0x4000

/** The mount that a path leads to, symlinks followed; no server is asked. Undefined where it cannot be told. */
export function mountIdOf(path: string): number | undefined {
  const result = statx(AT_FDCWD, cString(path), AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_MNT_ID, buffer)
  return result === 0 ? Number(u64[18]) : undefined
}

const STATX_MNT_ID_UNIQUE = 0x4000

/** A number of the mount that an open file is on, which no other mount gets in this boot. Undefined before Linux 6.8. */
export function uniqueMountId(descriptor: number): bigint | undefined {
  check(statx(descriptor, EMPTY, AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, buffer), 'statx')
  return (u32[0] & STATX_MNT_ID_UNIQUE) === 0 ? undefined : u64[18]
}

/** The mount that an open directory is the root of, by its number of this boot; undefined for any other directory. */
export function mountRootedAt(descriptor: number): bigint | undefined {
  check(statx(descriptor, EMPTY, AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, buffer), 'statx')
  return (Number(u64[1]) & STATX_ATTR_MOUNT_ROOT) === 0 ? undefined : u64[18]
}

/** The same by path, symlinks followed; undefined if nothing is mounted there. */
export function mountNumberAt(path: string): bigint | undefined {
  if (statx(AT_FDCWD, cString(path), AT_NO_AUTOMOUNT, STATX_MNT_ID_UNIQUE, buffer) !== 0) return undefined
  return (Number(u64[1]) & STATX_ATTR_MOUNT_ROOT) === 0 ? undefined : u64[18]
}

const statfs = libc.func('int statfs(void *path, void *buffer)')
const statfsBuffer = Buffer.alloc(256)
const FSID_OFFSET = 56
const FLAGS_OFFSET = 80
const ST_RDONLY = 1

/** The kernel's number of the file system that a path leads to, symlinks followed; undefined where it cannot be told. */
export function fileSystemIdOf(path: string): bigint | undefined {
  return statfs(cString(path), statfsBuffer) === 0 ? statfsBuffer.readBigUInt64LE(FSID_OFFSET) : undefined
}

/** Whether nothing can be written where a path leads to, for its mount or its superblock is read-only; undefined where it cannot be told. */
export function isReadOnlyAt(path: string): boolean | undefined {
  if (statfs(cString(path), statfsBuffer) !== 0) return undefined
  return (statfsBuffer.readUInt32LE(FLAGS_OFFSET) & ST_RDONLY) !== 0
}

/** Undefined where nothing is. */
export function statIfExists(path: string): Stat | undefined {
  try {
    return statPath(path)
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  }
}

/** Whether a directory is there; a symlink to one is none. */
export function isDirectoryAt(path: string): boolean {
  return isDirectoryMode(statIfExists(path)?.mode ?? 0)
}

/** Whether something else is there. Where nothing is, it may come in the next moment, so that says neither. */
export function isOtherThanDirectoryAt(path: string): boolean {
  const stat = statIfExists(path)
  return stat !== undefined && !isDirectoryMode(stat.mode)
}

function call(directory: number, path: Buffer, flags: number, shown: string | undefined): Stat {
  check(statx(directory, path, flags, STATX_BASIC_STATS | STATX_MNT_ID, buffer), 'statx', shown)
  return {
    mode: u32[7] & 0xffff,
    links: u32[4],
    uid: u32[5],
    gid: u32[6],
    inode: u64[4],
    size: Number(u64[5]),
    blocks: Number(u64[6]),
    mtimeSeconds: Number(BigInt.asIntN(64, u64[14])),
    mtimeNanoseconds: u32[30],
    ctime: ctimeInBuffer(),
    device: ((u32[33] & 0xff) | ((u32[32] & 0xfff) << 8) | ((u32[33] & 0xfff00) << 12)) >>> 0,
    fileSystem: u32[34] * 2 ** 20 + u32[35],
    mountId: u64[18],
    attributes: Number(u64[1]),
  }
}

const FILE_TYPE = 0o170000
export const isDirectoryMode = (mode: number): boolean => (mode & FILE_TYPE) === 0o040000
export const isRegularMode = (mode: number): boolean => (mode & FILE_TYPE) === 0o100000
export const isSymlinkMode = (mode: number): boolean => (mode & FILE_TYPE) === 0o120000
export const isCharacterMode = (mode: number): boolean => (mode & FILE_TYPE) === 0o020000

/** Whether nothing about the file moved between two looks. */
export function sameState(a: Stat, b: Stat): boolean {
  return (
    a.inode === b.inode &&
    a.size === b.size &&
    a.ctime === b.ctime &&
    sameMtime(a, b) &&
    a.mode === b.mode &&
    a.fileSystem === b.fileSystem
  )
}

/**
 * Whether a name below an open directory still is what it was: `sameState` of a new look, without making anything of it. False as well
 * where the look fails.
 */
export function isUnchangedAt(directory: number, path: string, before: Stat): boolean {
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
  if (statx(directory, cString(path), flags, STATX_BASIC_STATS, buffer) !== 0) return false
  return (
    u64[4] === before.inode &&
    Number(u64[5]) === before.size &&
    ctimeInBuffer() === before.ctime &&
    u32[30] === before.mtimeNanoseconds &&
    Number(BigInt.asIntN(64, u64[14])) === before.mtimeSeconds &&
    (u32[7] & 0xffff) === before.mode &&
    u32[34] * 2 ** 20 + u32[35] === before.fileSystem
  )
}

function ctimeInBuffer(): bigint {
  return BigInt.asIntN(64, u64[12]) * 1_000_000_000n + BigInt(u32[26])
}

export function sameMtime(a: Stat, b: Stat): boolean {
  return a.mtimeSeconds === b.mtimeSeconds && a.mtimeNanoseconds === b.mtimeNanoseconds
}
