import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { appendDurable, exists, syncDirectory } from '../host/files.ts'
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
  const path = paths.log(store, label)
  const isFirst = !exists(path)
  dropCutLine(path)
  appendDurable(path, `${JSON.stringify(entry)}\n`)
  if (!isFirst) return
  syncDirectory(paths.label(store, label))
  syncDirectory(paths.refs(store))
}

/** All entries, oldest first. @throws integrity if one in the middle is damaged */
export function readLog(store: Store, label: Label): LogEntry[] {
  const lines = readWhole(paths.log(store, label)).split('\n')
  lines.pop() // what stands behind the last line's end was cut
  return lines.map((line, i) => parseLine(line, label, i + 1))
}

const TAIL_BYTES = 1 << 16
const LINE_END = 10

/** The newest entry, without reading the rest of a long log. */
export function lastLogEntry(store: Store, label: Label): LogEntry | undefined {
  for (let bytes = TAIL_BYTES; ; bytes *= 8) {
    const tail = readTail(paths.log(store, label), bytes)
    const end = tail.lastIndexOf(LINE_END)
    const start = end <= 0 ? -1 : tail.lastIndexOf(LINE_END, end - 1)
    if (start < 0 && tail.length === bytes) continue // the entry begins further up
    return end < 0 ? undefined : parseLine(tail.toString('utf8', start + 1, end), label, 0)
  }
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

/** Cuts off the rest of an entry whose writing was interrupted, perhaps in the middle of a character. */
function dropCutLine(path: string): void {
  for (let bytes = TAIL_BYTES; ; bytes *= 8) {
    const tail = readTail(path, bytes)
    const end = tail.lastIndexOf(LINE_END)
    if (end < 0 && tail.length === bytes) continue
    const cut = tail.length - 1 - end
    if (cut > 0) fs.truncateSync(nodePath(path), fs.statSync(nodePath(path)).size - cut)
    return
  }
}

function readWhole(path: string): string {
  try {
    return fs.readFileSync(nodePath(path), 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
}

function readTail(path: string, bytes: number): Buffer {
  let file: number
  try {
    file = fs.openSync(nodePath(path), 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return Buffer.alloc(0)
    throw error
  }
  try {
    const { size } = fs.fstatSync(file)
    const tail = Buffer.alloc(Math.min(size, bytes))
    fs.readSync(file, tail, 0, tail.length, size - tail.length)
    return tail
  } finally {
    fs.closeSync(file)
  }
}
