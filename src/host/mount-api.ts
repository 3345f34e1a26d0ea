import fs from 'node:fs'
import { check, cString, errorOf, libc, systemError } from './libc.ts'
import { step } from './faults.ts'
import type { SystemError } from '../errors/errno.ts'
import koffi from 'koffi'

/** The mount calls of Linux 5.2 and later (fsopen(2) and its kin). Numbers are the same on x86-64 and arm64. */
const SYS = {
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  mount_setattr: 442,
} as const
const fsopen = libc.func('long syscall(long number, void *type, unsigned int flags)')
const fsconfig = libc.func(
  'long syscall(long number, int context, unsigned int command, void *key, void *value, int aux)',
)
const fsmount = libc.func('long syscall(long number, int context, unsigned int flags, unsigned int attributes)')
const fspick = libc.func('long syscall(long number, int directory, void *path, unsigned int flags)')
const moveMount = libc.func(
  'long syscall(long number, int from, void *fromPath, int to, void *toPath, unsigned int flags)',
)
const openTree = libc.func('long syscall(long number, int directory, void *path, unsigned int flags)')
const mountSetattr = libc.func(
  'long syscall(long number, int directory, void *path, unsigned int flags, void *attributes, size_t size)',
)
const umount2 = libc.func('int umount2(void *target, int flags)')
const ioctlLong = libc.func('int ioctl(int descriptor, unsigned long request, long argument)')
const ioctlBuffer = libc.func('int ioctl(int descriptor, unsigned long request, void *argument)')

const FSOPEN_CLOEXEC = 1
const FSMOUNT_CLOEXEC = 1
const FSPICK_CLOEXEC = 1
const COMMAND = { flag: 0, string: 1, descriptor: 5, create: 6, reconfigure: 7 } as const
const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const AT_FDCWD = -100
const MOVE_MOUNT_F_EMPTY_PATH = 0x4
const MOVE_MOUNT_T_EMPTY_PATH = 0x40
const MOVE_MOUNT_BENEATH = 0x200
const AT_RECURSIVE = 0x8000
const EMPTY = Buffer.from([0])

export const ATTRIBUTE = { readOnly: 1, noSuid: 2, noDev: 4 } as const
/** The words of mountinfo for what mount_setattr(2) takes; how access times are kept is one choice of several. */
const ATTRIBUTE_OF_OPTION: Readonly<Record<string, number>> = {
  ro: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x10,
  nodiratime: 0x80,
  nosymfollow: 0x200000,
}
const ATTRIBUTE_ACCESS_TIMES = 0x70
const ATTRIBUTE_STRICT_ACCESS_TIMES = 0x20
export const UMOUNT = { plain: 0, detach: 2, expire: 4, noFollow: 8 } as const

/** A value for one option: text, an open descriptor, or nothing. */
export type MountOption = readonly [key: string, value?: string | number]

/** Makes a mount of a new superblock that is attached nowhere and lives as long as its descriptor. The kernel's own words are in the error. */
export function createMount(type: string, options: readonly MountOption[], attributes: number): number {
  step('mount')
  const context = check(Number(fsopen(SYS.fsopen, cString(type), FSOPEN_CLOEXEC)), 'fsopen', type)
  try {
    for (const option of options) configure(context, option)
    command(context, COMMAND.create, `mounting ${type}`)
    return check(Number(fsmount(SYS.fsmount, context, FSMOUNT_CLOEXEC, attributes)), 'fsmount', type)
  } finally {
    fs.closeSync(context)
  }
}

/** Changes a superblock between writable and read-only; the flags of its mounts stay. EBUSY while anybody could still write. */
export function setSuperblockReadOnly(mountpoint: string, readOnly: boolean): void {
  step('remount')
  const context = check(Number(fspick(SYS.fspick, AT_FDCWD, cString(mountpoint), FSPICK_CLOEXEC)), 'fspick', mountpoint)
  try {
    configure(context, [readOnly ? 'ro' : 'rw'])
    command(context, COMMAND.reconfigure, `remounting ${mountpoint}`)
  } finally {
    fs.closeSync(context)
  }
}

/**
 * Lets the kernel drop all names and inodes of a superblock that nobody uses, beside what this thread does meanwhile: a reconfiguration
 * that changes nothing begins with that. Nobody relies on it, so a failure is none.
 */
export async function dropCaches(mountpoint: string): Promise<void> {
  const context = Number(fspick(SYS.fspick, AT_FDCWD, cString(mountpoint), FSPICK_CLOEXEC))
  if (context < 0) return
  try {
    await new Promise<void>(resolve =>
      fsconfig.async(SYS.fsconfig, context, COMMAND.reconfigure, null, null, 0, () => resolve()),
    )
  } finally {
    fs.closeSync(context)
  }
}

function configure(context: number, [key, value]: MountOption): void {
  const name = cString(key)
  let result: number
  if (value === undefined) result = Number(fsconfig(SYS.fsconfig, context, COMMAND.flag, name, null, 0))
  else if (typeof value === 'string')
    result = Number(fsconfig(SYS.fsconfig, context, COMMAND.string, name, cString(value), 0))
  else result = Number(fsconfig(SYS.fsconfig, context, COMMAND.descriptor, name, null, value))
  if (result < 0) throw explained(context, `mount option ${key}`)
}

function command(context: number, number: number, what: string): void {
  if (Number(fsconfig(SYS.fsconfig, context, number, null, null, 0)) < 0) throw explained(context, what)
}

/** The errno with the messages that the kernel left in the context, such as "e overlay: upper fs does not support ...". */
function explained(context: number, what: string): SystemError {
  const errno = koffi.errno()
  const messages: string[] = []
  const buffer = Buffer.alloc(1024)
  for (;;) {
    try {
      messages.push(buffer.toString('utf8', 2, fs.readSync(context, buffer)).trim())
    } catch {
      break
    }
  }
  const error = errorOf(errno, what)
  if (messages.length > 0) error.message += ` (${messages.join('; ')})`
  return error
}

/** Attaches a mount at a directory; `beneath` puts it below the mount that is there, which then hides it. */
export function attachMount(mount: number, target: string, beneath = false): void {
  step('attach')
  const flags = MOVE_MOUNT_F_EMPTY_PATH | (beneath ? MOVE_MOUNT_BENEATH : 0)
  check(Number(moveMount(SYS.move_mount, mount, EMPTY, AT_FDCWD, cString(target), flags)), 'move_mount', target)
}

/** Attaches a mount at an open directory, wherever its name leads by now. */
export function attachMountAt(mount: number, directory: number): void {
  step('attach')
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
  check(Number(moveMount(SYS.move_mount, mount, EMPTY, directory, EMPTY, flags)), 'move_mount')
}

/** A copy of the mount at a path, attached nowhere: a bind mount in the making. */
export function cloneMount(path: string): number {
  step('clone-mount')
  return check(
    Number(openTree(SYS.open_tree, AT_FDCWD, cString(path), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)),
    'open_tree',
    path,
  )
}

/** Sets and clears attributes of one mount; its superblock stays as it is. */
export function setMountAttributes(mount: number, set: number, clear = 0): void {
  step('mount-attributes')
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(set), 0)
  attributes.writeBigUInt64LE(BigInt(clear), 8)
  check(Number(mountSetattr(SYS.mount_setattr, mount, EMPTY, 0x1000, attributes, attributes.length)), 'mount_setattr')
}

/** Gives a mount the attributes of another one, as mountinfo shows those. */
export function copyMountAttributes(mount: number, options: readonly string[]): void {
  const keepsAllTimes = !options.includes('relatime') && !options.includes('noatime')
  let set = keepsAllTimes ? ATTRIBUTE_STRICT_ACCESS_TIMES : 0
  for (const option of options) set |= ATTRIBUTE_OF_OPTION[option] ?? 0
  const known = Object.values(ATTRIBUTE_OF_OPTION).reduce((all, bit) => all | bit, ATTRIBUTE_ACCESS_TIMES)
  setMountAttributes(mount, set, (known & ~set) | ATTRIBUTE_ACCESS_TIMES)
}

const MS_PRIVATE = 1 << 18

/** Keeps the mounts at and below a path from spreading to other mount namespaces. */
export function makePrivate(path: string): void {
  step('mount-attributes')
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(MS_PRIVATE), 16)
  check(
    Number(mountSetattr(SYS.mount_setattr, AT_FDCWD, cString(path), AT_RECURSIVE, attributes, attributes.length)),
    'mount_setattr',
    path,
  )
}

/** Takes away the mount at a path itself, a symlink not followed. */
export function unmount(target: string, how: keyof typeof UMOUNT = 'plain'): void {
  step('umount')
  if (umount2(cString(target), UMOUNT[how] | UMOUNT.noFollow) < 0) throw systemError('umount', target)
}

/**
 * The same beside what this thread does meanwhile: with the last mount of a superblock goes all that the kernel has cached of it. False if
 * it was refused; why is known to the thread of the call alone.
 */
export async function unmountAside(target: string): Promise<boolean> {
  step('umount')
  const name = cString(target)
  const result = await new Promise<number>((resolve, reject) =>
    umount2.async(name, UMOUNT.noFollow, (error: Error | null, value: number) =>
      error ? reject(error) : resolve(value),
    ),
  )
  return result === 0 && name.length > 0 // the name has to live as long as the call
}

/** The same for a name in an open directory: no rename above can lead it elsewhere. */
export function unmountAt(directory: number, name: string): void {
  unmount(`/proc/self/fd/${directory}/${name}`)
}

/** Takes away the mount that an open directory is the root of, wherever it is attached; it lives on while somebody uses it. */
export function detachMount(root: number): void {
  step('umount')
  if (umount2(cString(`/proc/self/fd/${root}`), UMOUNT.detach) < 0) throw systemError('umount')
}

const LOOP_CTL_GET_FREE = 0x4c82
const LOOP_CONFIGURE = 0x4c0a
const LOOP_CONFIG_BYTES = 304
const LO_FLAGS = { readOnly: 1, autoclear: 4 } as const
const LOOP_TRIES = 16

/** A read-only loop device over a file; the kernel frees it when its last user is gone. For kernels below 6.12. */
export function createLoopDevice(file: number): { path: string; descriptor: number } {
  step('loop')
  const control = fs.openSync('/dev/loop-control', 'r+')
  try {
    for (let tries = 1; ; tries++) {
      const number = check(ioctlLong(control, LOOP_CTL_GET_FREE, 0), 'LOOP_CTL_GET_FREE')
      const path = `/dev/loop${number}`
      const descriptor = fs.openSync(path, 'r')
      const config = Buffer.alloc(LOOP_CONFIG_BYTES)
      config.writeUInt32LE(file, 0)
      config.writeUInt32LE(LO_FLAGS.readOnly | LO_FLAGS.autoclear, 8 + 52)
      if (ioctlBuffer(descriptor, LOOP_CONFIGURE, config) === 0) return { path, descriptor }
      const error = systemError('LOOP_CONFIGURE', path)
      fs.closeSync(descriptor)
      if (error.code !== 'EBUSY' || tries === LOOP_TRIES) throw error // somebody else took it first
    }
  } finally {
    fs.closeSync(control)
  }
}
