import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { commandOf } from '../host/lock-holders.ts'
import { processes } from '../host/mountinfo.ts'
import { fromUser } from '../names/text.ts'
import type { Holder } from './holders.ts'

/** The processes that have a file below a directory open or mapped, or work in it; as far as their paths lead there from here. */
export function findUsers(directory: string): Holder[] {
  return processes().flatMap(pid => {
    if (pid === process.pid) return []
    const uses = [
      ...new Set(
        pathsOf(pid)
          .filter(({ path }) => isBelow(path, directory))
          .map(({ how, path }) => `${how}: ${path}`),
      ),
    ]
    return uses.length === 0 ? [] : [{ pid, command: commandOf(pid), uses, writes: true }]
  })
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory === '/' ? '' : directory}/`)
}

function pathsOf(pid: number): { how: string; path: string }[] {
  const link = (name: string, how: string): { how: string; path: string }[] =>
    unlessGone(() => [{ how, path: fromUser(fs.readlinkSync(`/proc/${pid}/${name}`)) }])
  const open = unlessGone(() => fs.readdirSync(`/proc/${pid}/fd`)).flatMap(fd => link(`fd/${fd}`, 'open'))
  const mapped = unlessGone(() => fs.readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')).flatMap(line => {
    const path = line.split(/\s+/, 6)[5]
    return path === undefined || path === '' ? [] : [{ how: 'mapped', path }]
  })
  return [
    ...link('cwd', 'working directory'),
    ...link('root', 'root directory').filter(({ path }) => path !== '/'),
    ...open,
    ...mapped,
  ]
}

/** Processes end while they are looked at. */
function unlessGone<T>(look: () => T[]): T[] {
  try {
    return look()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM')) return []
    throw error
  }
}
