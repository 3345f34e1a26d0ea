import type { Xattr } from '../erofs/xattrs.ts'
import { isErrno } from '../errors/errno.ts'
import { step } from './faults.ts'
import { check, cString, libc } from './libc.ts'

const flistxattr = libc.func('long flistxattr(int descriptor, void *list, size_t size)')
const fgetxattr = libc.func('long fgetxattr(int descriptor, void *name, void *value, size_t size)')
const llistxattr = libc.func('long llistxattr(void *path, void *list, size_t size)')
const lgetxattr = libc.func('long lgetxattr(void *path, void *name, void *value, size_t size)')
const lsetxattr = libc.func('int lsetxattr(void *path, void *name, void *value, size_t size, int flags)')
const lremovexattr = libc.func('int lremovexattr(void *path, void *name)')

const XATTR_BYTES_MAX = 65536
const list = Buffer.alloc(XATTR_BYTES_MAX)
const value = Buffer.alloc(XATTR_BYTES_MAX)

/** All xattrs of an open file; none where the file system has none. */
export function xattrsOfDescriptor(descriptor: number): Xattr[] {
  const bytes = tolerate(Number(flistxattr(descriptor, list, list.length)), 'flistxattr')
  return readAll(bytes, name => Number(fgetxattr(descriptor, name, value, value.length)))
}

/** All xattrs of a name in an open directory, whatever it is, a symlink not followed. */
export function xattrsAt(directory: number, name: string): Xattr[] {
  return xattrsOfPath(pathAt(directory, name))
}

export function xattrsOfPath(text: string): Xattr[] {
  const path = cString(text)
  const bytes = tolerate(Number(llistxattr(path, list, list.length)), 'llistxattr', text)
  return readAll(bytes, name => Number(lgetxattr(path, name, value, value.length)))
}

/** One xattr, or undefined. */
export function getXattr(path: string, name: string): string | undefined {
  try {
    const bytes = check(Number(lgetxattr(cString(path), cString(name), value, value.length)), 'lgetxattr', path)
    return value.toString('latin1', 0, bytes)
  } catch (error) {
    if (isErrno(error, 'ENODATA', 'ENOTSUP', 'EOPNOTSUPP')) return undefined
    throw error
  }
}

export function setXattr(path: string, name: string, text: string): void {
  step('setxattr')
  const bytes = Buffer.from(text, 'latin1')
  check(lsetxattr(cString(path), cString(name), bytes, bytes.length, 0), 'lsetxattr', path)
}

export function removeXattr(path: string, name: string): void {
  step('removexattr')
  check(lremovexattr(cString(path), cString(name)), 'lremovexattr', path)
}

/** A path to a name in an open directory, for calls that know no descriptors. */
export function pathAt(directory: number, name: string): string {
  return `/proc/self/fd/${directory}/${name}`
}

function readAll(listed: number, get: (name: Buffer) => number): Xattr[] {
  if (listed === 0) return []
  const names = list.toString('latin1', 0, listed - 1).split('\0')
  const xattrs: Xattr[] = []
  for (const name of names) {
    const bytes = get(cString(name))
    if (bytes >= 0) xattrs.push([name, value.toString('latin1', 0, bytes)])
    else tolerate(bytes, 'getxattr', name) // taken away since it was listed
  }
  return xattrs
}

function tolerate(bytes: number, call: string, path?: string): number {
  if (bytes >= 0) return bytes
  try {
    return check(bytes, call, path)
  } catch (error) {
    if (isErrno(error, 'ENOTSUP', 'EOPNOTSUPP', 'ENODATA')) return 0
    throw error
  }
}
