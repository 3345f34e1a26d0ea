import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { commandOf, type ProcessName } from '../host/lock-holders.ts'
import { processes, readMountsOfAllNamespaces } from '../host/mountinfo.ts'
import { fileSystemIdOf, mountIdOf } from '../host/stat.ts'
import type { Mounted } from '../mounts/records.ts'

/** A process that uses a file system, and how: what it holds open, its working directory, what it has mapped. */
export interface Holder extends ProcessName {
  readonly uses: readonly string[]
  readonly writes: boolean
}

/** Where a superblock is mounted, in every mount namespace that a process is in. */
export interface SuperblockView {
  readonly mountIds: ReadonlySet<number>
  /** Namespaces that show it, by one process of each. */
  readonly namespaces: readonly number[]
}

/** @param device major:minor of the superblock, as mountinfo has it */
export function viewSuperblock(device: string): SuperblockView {
  const mountIds = new Set<number>()
  const namespaces: number[] = []
  for (const { pid, mounts } of readMountsOfAllNamespaces()) {
    const here = mounts.filter(mount => mount.device === device)
    for (const { id } of here) mountIds.add(id)
    if (here.length > 0) namespaces.push(pid)
  }
  return { mountIds, namespaces }
}

/** The processes that hold a superblock, but for this one. Who holds it through a mount that is attached nowhere is not found. */
export function findHolders(device: string, view: SuperblockView = viewSuperblock(device)): Holder[] {
  return processes().flatMap(pid => {
    if (pid === process.pid) return []
    const uses = usesOf(pid, device, view.mountIds)
    if (uses.length === 0) return []
    return [
      { pid, command: commandOf(pid), uses: uses.map(({ how }) => how), writes: uses.some(({ writes }) => writes) },
    ]
  })
}

interface Use {
  how: string
  writes: boolean
}

const O_ACCMODE = 3

function usesOf(pid: number, device: string, mountIds: ReadonlySet<number>): Use[] {
  return [...openFiles(pid, mountIds), ...directories(pid, mountIds), ...mappings(pid, device)]
}

function openFiles(pid: number, mountIds: ReadonlySet<number>): Use[] {
  return unlessGone(() => fs.readdirSync(`/proc/${pid}/fdinfo`)).flatMap(name =>
    unlessGone(() => {
      const info = fs.readFileSync(`/proc/${pid}/fdinfo/${name}`, 'utf8')
      if (!mountIds.has(Number(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1]))) return []
      const flags = Number.parseInt(/^flags:\s*(\d+)$/m.exec(info)?.[1] ?? '0', 8)
      const writes = (flags & O_ACCMODE) !== 0
      return [{ how: `${writes ? 'open for writing' : 'open'}: ${fs.readlinkSync(`/proc/${pid}/fd/${name}`)}`, writes }]
    }),
  )
}

function directories(pid: number, mountIds: ReadonlySet<number>): Use[] {
  return (['cwd', 'root'] as const).flatMap(name =>
    unlessGone(() => {
      const id = mountIdOf(`/proc/${pid}/${name}`)
      return id !== undefined && mountIds.has(id)
        ? [{ how: `${name === 'cwd' ? 'working' : 'root'} directory`, writes: false }]
        : []
    }),
  )
}

function mappings(pid: number, device: string): Use[] {
  const [major, minor] = device.split(':').map(Number)
  const wanted = `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`
  return unlessGone(() => fs.readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')).flatMap(line => {
    const fields = line.split(/\s+/, 6)
    if (fields[3] !== wanted) return []
    const writes = fields[1].startsWith('rw') && fields[1].endsWith('s')
    return [{ how: `mapped${writes ? ' for writing' : ''}: ${fields[5] ?? ''}`, writes }]
  })
}

/**
 * Processes that a mount does not know of, but that lose something with its superblock: who is told of changes (inotify, fanotify), and
 * who holds a mount of it that is attached nowhere.
 */
export function findUnseenHolders({ device, mountpoint }: Mounted): Holder[] {
  const fileSystem = fileSystemIdOf(mountpoint)
  const attached = new Set(readMountsOfAllNamespaces().flatMap(({ mounts }) => mounts.map(({ id }) => id)))
  const isDetached = (path: string): boolean => {
    const id = mountIdOf(path)
    return id !== undefined && !attached.has(id) && fileSystemIdOf(path) === fileSystem
  }
  return processes().flatMap(pid => {
    if (pid === process.pid) return []
    const uses = [...watches(pid, device), ...detached(pid, isDetached)]
    return uses.length === 0 ? [] : [{ pid, command: commandOf(pid), uses, writes: false }]
  })
}

function watches(pid: number, device: string): string[] {
  const [major, minor] = device.split(':').map(Number)
  const wanted = new RegExp(`sdev:0*${(major * 2 ** 20 + minor).toString(16)}\\b`)
  return descriptors(pid)
    .filter(({ target }) => /^anon_inode:\[?(inotify|fanotify)/.test(target))
    .flatMap(({ number }) => unlessGone(() => [fs.readFileSync(`/proc/${pid}/fdinfo/${number}`, 'utf8')]))
    .filter(info => wanted.test(info))
    .map(() => 'is told of changes in it')
}

function detached(pid: number, isDetached: (path: string) => boolean): string[] {
  const open = descriptors(pid).filter(({ target }) => target.startsWith('/'))
  const places = [...open.map(({ number }) => `/proc/${pid}/fd/${number}`), `/proc/${pid}/cwd`, `/proc/${pid}/root`]
  return places.filter(isDetached).map(() => 'holds a mount of it that is attached nowhere')
}

function descriptors(pid: number): { number: string; target: string }[] {
  return unlessGone(() => fs.readdirSync(`/proc/${pid}/fd`)).flatMap(number =>
    unlessGone(() => [{ number, target: fs.readlinkSync(`/proc/${pid}/fd/${number}`) }]),
  )
}

/** Processes end while they are looked at. */
function unlessGone<T>(look: () => T[]): T[] {
  try {
    return look()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR')) return []
    throw error
  }
}

/** `pid 812 (nginx; open for writing: /srv/app/log)`, the first few. */
export function describeHolders(holders: readonly Holder[]): string {
  const shown = holders.slice(0, 4).map(({ pid, command, uses }) => `pid ${pid} (${command || '?'}; ${uses[0]})`)
  return holders.length > shown.length
    ? `${shown.join(', ')} and ${holders.length - shown.length} more`
    : shown.join(', ')
}
