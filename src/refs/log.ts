import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { appendDurable } from '../host/files.ts'
import { nodePath } from '../names/text.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { paths, type Store } from '../store/layout.ts'

/** One thing that happened to a label. Written before it is done, so the last entry is what the next command may have to finish. */
export interface LogEntry {
  /** RFC 3339 in UTC, with milliseconds. */
  readonly time: string
  /** Who did it: a user name, a service account. */
  readonly actor: string
  /** The verb: import, commit, tag, remove, apply, … */
  readonly operation: string
  /** Each ref that moves: `tags/<tag>` or `HEAD` (its last commit). */
  readonly refs: Readonly<Record<string, RefMove>>
  readonly message?: string
  /** Files that did not hold still while they were read, as shown to people. */
  readonly unstable?: readonly string[]
  /** Facts of the operation that a later reader may want: the pause of a freeze, the request of a cluster. */
  readonly notes?: Readonly<Record<string, string | number | boolean>>
}

export interface RefMove {
  readonly from: CommitId | null
  readonly to: CommitId | null
}

/** One JSON object a line. A line that was cut by a crash never counted. */
export function appendLog(store: Store, label: Label, entry: LogEntry): void {
  dropCutLine(paths.log(store, label))
  appendDurable(paths.log(store, label), `${JSON.stringify(entry)}\n`)
}

/** All entries, oldest first. @throws integrity if one in the middle is damaged */
export function readLog(store: Store, label: Label): LogEntry[] {
  const lines = readWhole(paths.log(store, label)).split('\n')
  lines.pop() // what stands behind the last line's end was cut
  return lines.map((line, i) => parseLine(line, label, i + 1))
}

/** The entries that can be read and how many lines cannot, for who looks for damage. */
export function inspectLog(store: Store, label: Label): { entries: LogEntry[]; damagedLines: number } {
  const lines = readWhole(paths.log(store, label)).split('\n')
  lines.pop()
  const entries = lines.flatMap(line => {
    try {
      return [parseLine(line, label, 0)]
    } catch {
      return []
    }
  })
  return { entries, damagedLines: lines.length - entries.length }
}

const TAIL_BYTES = 1 << 16

/** The newest entry, without reading the rest of a long log. */
export function lastLogEntry(store: Store, label: Label): LogEntry | undefined {
  const text = readTail(paths.log(store, label), TAIL_BYTES)
  const end = text.lastIndexOf('\n')
  if (end < 0) return text.length < TAIL_BYTES ? undefined : readLog(store, label).at(-1)
  const start = text.lastIndexOf('\n', end - 1)
  if (start < 0 && text.length >= TAIL_BYTES) return readLog(store, label).at(-1)
  return parseLine(text.slice(start + 1, end), label, 0)
}

function parseLine(line: string, label: Label, number: number): LogEntry {
  try {
    const entry = JSON.parse(line) as LogEntry
    if (typeof entry.time !== 'string' || typeof entry.refs !== 'object') throw new Error('time or refs are missing')
    return entry
  } catch (cause) {
    throw new StratumError(
      'integrity',
      `the log of ${label} is damaged${number > 0 ? ` at line ${number}` : ' at its end'}`,
      { cause },
    )
  }
}

/** Cuts off the rest of an entry whose writing was interrupted. */
function dropCutLine(path: string): void {
  const tail = readTail(path, TAIL_BYTES)
  if (tail === '' || tail.endsWith('\n')) return
  const cut = Buffer.byteLength(tail.slice(tail.lastIndexOf('\n') + 1))
  fs.truncateSync(nodePath(path), fs.statSync(nodePath(path)).size - cut)
}

function readWhole(path: string): string {
  try {
    return fs.readFileSync(nodePath(path), 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
}

function readTail(path: string, bytes: number): string {
  let file: number
  try {
    file = fs.openSync(nodePath(path), 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
  try {
    const { size } = fs.fstatSync(file)
    const buffer = Buffer.alloc(Math.min(size, bytes))
    fs.readSync(file, buffer, 0, buffer.length, size - buffer.length)
    return buffer.toString('utf8')
  } finally {
    fs.closeSync(file)
  }
}
