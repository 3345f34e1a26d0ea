import { isErrno } from '../errors/errno.ts'
import { readText, readTextIfExists } from './files.ts'
import { statDescriptor } from './stat.ts'

/** One process as people know it. */
export interface ProcessName {
  readonly pid: number
  readonly command: string
}

/** Who holds an flock on the file behind this descriptor, from /proc/locks; processes of other pid namespaces are not listed. */
export function lockHolders(descriptor: number): ProcessName[] {
  const { inode } = statDescriptor(descriptor)
  const holders = new Map<number, ProcessName>()
  for (const line of readText('/proc/locks').split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[1] !== 'FLOCK' || fields[5]?.split(':')[2] !== String(inode)) continue
    const pid = Number(fields[4])
    if (pid > 0 && pid !== process.pid) holders.set(pid, { pid, command: commandOf(pid) })
  }
  return [...holders.values()]
}

/** The command line of a process, cut to a readable length. */
export function commandOf(pid: number): string {
  const line = readOfProcess(pid, 'cmdline') ?? ''
  const text = line.replaceAll('\0', ' ').trim() || (readOfProcess(pid, 'comm') ?? '').trim()
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}

export function isAlive(pid: number): boolean {
  return readOfProcess(pid, 'comm') !== undefined
}

function readOfProcess(pid: number, file: string): string | undefined {
  try {
    return readTextIfExists(`/proc/${pid}/${file}`)
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return undefined // it ended between opening and reading
    throw error
  }
}

export function describeProcesses(list: readonly ProcessName[]): string {
  const shown = list.slice(0, 5).map(({ pid, command }) => `pid ${pid}${command === '' ? '' : ` (${command})`}`)
  return list.length > shown.length ? `${shown.join(', ')} and ${list.length - shown.length} more` : shown.join(', ')
}
