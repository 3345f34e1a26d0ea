import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { step } from './faults.ts'
import { commandOf, describeProcesses } from './lock-holders.ts'
import { tryLock } from './locks.ts'
import { readMounts } from './mountinfo.ts'

/** The freezer of control groups: version 1 (cgroups/freezer-subsystem.rst) and version 2 (cgroup-v2.rst, cgroup.freeze). */
export interface Freezer {
  readonly version: 1 | 2
  /** The group's directory. */
  readonly path: string
}

const POLL_MS = 0.2
const DISSOLVE_TRIES = 100
const sleeper = new Int32Array(new SharedArrayBuffer(4))

interface Hierarchy {
  readonly version: 1 | 2
  readonly mountpoint: string
  readonly root: string
}

/** Where the freezer hierarchies are mounted, version 1 first: there, moving a process disturbs nothing else. */
function hierarchies(): Hierarchy[] {
  return readMounts()
    .flatMap(({ type, superOptions, mountpoint, root }): Hierarchy[] => {
      if (type === 'cgroup2') return [{ version: 2, mountpoint, root }]
      return type === 'cgroup' && superOptions.includes('freezer') ? [{ version: 1, mountpoint, root }] : []
    })
    .sort((a, b) => a.version - b.version)
}

/** The group of a process in the freezer's hierarchy; undefined where there is none, or the process is gone. */
export function freezerOf(pid: number): Freezer | undefined {
  const lines = readGroups(pid)
  for (const { version, mountpoint, root } of hierarchies()) {
    const line = lines.find(([number, controllers]) =>
      version === 2 ? number === '0' && controllers === '' : controllers.split(',').includes('freezer'),
    )
    const path = line === undefined ? undefined : below(line[2], root)
    if (path !== undefined) return { version, path: `${mountpoint}${path}` }
  }
  return undefined
}

/** The part of a group's path below the root of a mounted hierarchy; undefined outside of it, as `/../x` in a cgroup namespace is. */
function below(path: string, root: string): string | undefined {
  const top = root === '/' ? '' : root
  if (path !== root && !path.startsWith(`${top}/`)) return undefined
  const rest = path.slice(top.length)
  return rest.split('/').includes('..') ? undefined : rest === '/' ? '' : rest
}

/** Number, controllers and path of each hierarchy. */
function readGroups(pid: number): [string, string, string][] {
  try {
    const text = fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    return text.split('\n').flatMap(line => {
      const [, number, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? []
      return path === undefined ? [] : [[number, controllers, path] as [string, string, string]]
    })
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return []
    throw error
  }
}

/** Whether the group is the top one of its hierarchy, which cannot be frozen. */
export function isTopGroup({ version, path }: Freezer): boolean {
  return !fs.existsSync(`${path}/${stateFile(version)}`)
}

/** Whether a process is in the group or in one below. */
export function groupHolds({ path }: Freezer, pid: number): boolean {
  const own = freezerOf(pid)?.path
  return own !== undefined && (own === path || own.startsWith(`${path}/`))
}

/**
 * Stops every process of the group. Returns when all stand still. @throws timeout with the processes that cannot be stopped (waiting for a
 * device or a FUSE server); they go on then
 */
export function freeze(freezer: Freezer, limitMs: number): void {
  const end = performance.now() + limitMs
  setFrozen(freezer, true)
  while (!isFrozen(freezer)) {
    if (performance.now() >= end) {
      setFrozen(freezer, false)
      const stuck = uninterruptible(freezer)
      throw new StratumError(
        'timeout',
        `not all processes of ${freezer.path} could be stopped in ${limitMs.toFixed(0)} ms${stuck === '' ? '' : `: ${stuck}`}`,
      )
    }
    Atomics.wait(sleeper, 0, 0, POLL_MS)
  }
}

export function thaw(freezer: Freezer): void {
  try {
    setFrozen(freezer, false)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error // the group is gone, and with it everybody who stood still in it
  }
}

function setFrozen({ version, path }: Freezer, frozen: boolean): void {
  step(frozen ? 'freeze' : 'thaw')
  const value = version === 1 ? (frozen ? 'FROZEN' : 'THAWED') : frozen ? '1' : '0'
  fs.writeFileSync(`${path}/${stateFile(version)}`, value)
}

/** Whether everybody in the group stands still; not if it was removed: then they were moved elsewhere. */
export function isFrozen({ version, path }: Freezer): boolean {
  const [file, frozen] = version === 1 ? ['freezer.state', /^FROZEN$/m] : ['cgroup.events', /^frozen 1$/m]
  try {
    return frozen.test(fs.readFileSync(`${path}/${file}`, 'utf8'))
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return false
    throw error
  }
}

function stateFile(version: 1 | 2): string {
  return version === 1 ? 'freezer.state' : 'cgroup.freeze'
}

/** The processes of a group and of those below. */
export function processesOf({ path }: Freezer): number[] {
  try {
    const own = fs.readFileSync(`${path}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number)
    const below = fs.readdirSync(path, { withFileTypes: true }).filter(entry => entry.isDirectory())
    return own.concat(...below.map(({ name }) => processesOf({ version: 1, path: `${path}/${name}` })))
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP')) return []
    throw error
  }
}

function uninterruptible(freezer: Freezer): string {
  const stuck = processesOf(freezer).filter(pid => processState(pid) === 'D')
  return describeProcesses(stuck.map(pid => ({ pid, command: commandOf(pid) })))
}

/** R, S, D, T, Z as in proc_pid_stat(5); empty when the process is gone. */
function processState(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
  } catch {
    return ''
  }
}

/** Makes a group inside another. */
export function createGroup({ version, path }: Freezer, name: string): Freezer {
  step('cgroup')
  fs.mkdirSync(`${path}/${name}`, { recursive: true })
  return { version, path: `${path}/${name}` }
}

/**
 * An flock of the group's folder, for whoever freezes it: two who did so at once would let go on whom the other believes to stand still.
 * To be closed. A group that is gone has nobody in it.
 */
export function lockGroup({ path }: Freezer): number | 'taken' | 'gone' {
  let folder: number
  try {
    folder = fs.openSync(path, 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 'gone'
    throw error
  }
  if (tryLock(folder, 'exclusive')) return folder
  fs.closeSync(folder)
  return 'taken'
}

/** Moves a process with all its threads. One that ended meanwhile is passed over. */
export function moveProcess(pid: number, { path }: Freezer): void {
  step('cgroup')
  try {
    fs.writeFileSync(`${path}/cgroup.procs`, String(pid))
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error
  }
}

/** Removes a group that was made here; its processes go to the group above. A group that somebody else works in stays, thawed. */
export function dissolveGroup({ version, path }: Freezer): void {
  step('cgroup')
  const above: Freezer = { version, path: path.slice(0, path.lastIndexOf('/')) }
  for (let tries = 1; ; tries++) {
    for (const pid of processesOf({ version, path })) moveProcess(pid, above)
    try {
      fs.rmdirSync(path)
      return
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return
      if (!isErrno(error, 'EBUSY', 'ENOTEMPTY')) throw error
      if (tries === DISSOLVE_TRIES) return // somebody forks faster, or made a group inside
    }
  }
}
