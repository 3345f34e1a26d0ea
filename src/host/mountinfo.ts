import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { libc } from './libc.ts'

/** One line of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)). Paths are latin1. */
export interface MountInfo {
  readonly id: number
  readonly parent: number
  /** major:minor of the superblock. */
  readonly device: string
  /** The directory of the file system that is mounted here. */
  readonly root: string
  readonly mountpoint: string
  readonly options: readonly string[]
  readonly type: string
  readonly source: string
  readonly superOptions: readonly string[]
}

/** The mounts that this process sees, in the order in which they were made: of two at one place, the later one is on top. */
export function readMounts(process: number | 'self' = 'self'): MountInfo[] {
  return parseMountInfo(fs.readFileSync(`/proc/${process}/mountinfo`, 'latin1'))
}

const poll = libc.func('int poll(void *descriptors, unsigned long count, int timeout)')
const POLLPRI = 2
/** One `struct pollfd`. */
const polled = Buffer.alloc(8)
let table: { readonly descriptor: number; mounts: readonly MountInfo[] } | undefined

/**
 * The same mounts, read anew only when the kernel says that some were made, taken away, moved or got other options: with thousands of
 * mounts that is a call of microseconds instead of milliseconds. It does not say so when a directory above a mountpoint is renamed or a
 * superblock alone becomes read-only: whoever relies on either looks at the mountpoint, and calls `forgetMountTable` if it leads elsewhere.
 */
export function mountTable(): readonly MountInfo[] {
  // Opened before the first reading: what happens in between is told by the next call.
  table ??= { descriptor: fs.openSync('/proc/self/mountinfo', 'r'), mounts: [] }
  if (table.mounts.length === 0 || hasChanged(table.descriptor)) table.mounts = readMounts()
  return table.mounts
}

export function forgetMountTable(): void {
  if (table !== undefined) table.mounts = []
}

/** Each change is reported once for each open file, as POLLPRI and POLLERR; a failure counts as one. */
function hasChanged(descriptor: number): boolean {
  polled.writeInt32LE(descriptor, 0)
  polled.writeInt32LE(POLLPRI, 4)
  return poll(polled, 1, 0) !== 0
}

export function parseMountInfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = []
  for (const line of text.split('\n')) {
    if (line === '') continue
    const fields = line.split(' ')
    const dash = fields.indexOf('-', 6)
    mounts.push({
      id: Number(fields[0]),
      parent: Number(fields[1]),
      device: fields[2],
      root: unescape(fields[3]),
      mountpoint: unescape(fields[4]),
      options: fields[5].split(','),
      type: fields[dash + 1],
      source: unescape(fields[dash + 2]),
      superOptions: fields[dash + 3].split(','),
    })
  }
  return mounts
}

/** Space, tab, newline and backslash are written as octal numbers. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** The mounts of each mount namespace that some process is in, by one process of it. Processes that end meanwhile are passed over. */
export function readMountsOfAllNamespaces(): { pid: number; mounts: MountInfo[] }[] {
  const seen = new Set<string>()
  const namespaces: { pid: number; mounts: MountInfo[] }[] = []
  for (const pid of processes()) {
    try {
      const namespace = fs.readlinkSync(`/proc/${pid}/ns/mnt`)
      if (seen.has(namespace)) continue
      namespaces.push({ pid, mounts: readMounts(pid) })
      seen.add(namespace)
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ESRCH', 'EINVAL', 'EACCES', 'EPERM')) throw error
    }
  }
  return namespaces
}

/** `PROC_PID_INIT_INO` of the kernel: the number of the process namespace that all others are in. */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]'

/** Whether there are no processes, and so no mount namespaces, that /proc does not show: a container sees only its own. */
export function seesAllProcesses(): boolean {
  return fs.readlinkSync('/proc/self/ns/pid') === INITIAL_PID_NAMESPACE
}

export function processes(): number[] {
  return fs.readdirSync('/proc').flatMap(name => (/^[0-9]+$/.test(name) ? [Number(name)] : []))
}
