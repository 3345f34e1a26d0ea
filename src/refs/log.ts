import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { appendDurable, exists, syncDirectory, truncateFile } from '../host/files.ts'
import { nodePath } from '../names/text.ts'
import { type CommitId, isCommitId } from '../names/commit-id.ts'
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
  if (isFirst) syncDirectory(paths.refs(store)) // the label's folder may be as new as its log
}

/** All entries, oldest first. @throws integrity if one in the middle is damaged */
export function readLog(store: Store, label: Label): LogEntry[] {
  return linesOf(store, label).map((line, i) => parseLine(line, label, i + 1))
}

/** The entries that can be read and how many lines cannot, for who looks for damage. */
export function inspectLog(store: Store, label: Label): { entries: LogEntry[]; damagedLines: number } {
  const lines = linesOf(store, label)
  const entries = lines.flatMap(line => {
    try {
      return [parseLine(line, label, 0)]
    } catch {
      return []
    }
  })
  return { entries, damagedLines: lines.length - entries.length }
}

function linesOf(store: Store, label: Label): string[] {
  const lines = readBytes(paths.log(store, label)).toString('utf8').split('\n')
  lines.pop() // what stands behind the last line's end was cut
  return lines
}

const TAIL_BYTES = 1 << 16
const NEWLINE = 0x0a

/** The newest entry, without reading the rest of a long log. */
export function lastLogEntry(store: Store, label: Label): LogEntry | undefined {
  const tail = readTail(paths.log(store, label))
  const end = tail.bytes.lastIndexOf(NEWLINE)
  const start = end > 0 ? tail.bytes.lastIndexOf(NEWLINE, end - 1) : -1
  const isWhole = start >= 0 || tail.start === 0
  if (!isWhole) return readLog(store, label).at(-1)
  return end < 0 ? undefined : parseLine(tail.bytes.toString('utf8', start + 1, end), label, 0)
}

function parseLine(line: string, label: Label, number: number): LogEntry {
  try {
    const entry = JSON.parse(line) as LogEntry
    if (typeof entry.time !== 'string' || !Object.values(entry.refs).every(isMove))
      throw new Error('time or refs are wrong')
    return entry
  } catch (cause) {
    throw new StratumError(
      'integrity',
      `the log of ${label} is damaged${number > 0 ? ` at line ${number}` : ' at its end'}`,
      { cause },
    )
  }
}

function isMove(move: Partial<RefMove> | null): boolean {
  return [move?.from, move?.to].every(end => end === null || (typeof end === 'string' && isCommitId(end)))
}

/** Cuts off the rest of an entry whose writing was interrupted, which may be in the middle of a character. */
function dropCutLine(path: string): void {
  const tail = readTail(path)
  const size = tail.start + tail.bytes.length
  const end = tail.bytes.lastIndexOf(NEWLINE)
  const keep = end >= 0 || tail.start === 0 ? tail.start + end + 1 : readBytes(path).lastIndexOf(NEWLINE) + 1
  if (keep < size) truncateFile(path, keep)
}

function readBytes(path: string): Buffer {
  try {
    return fs.readFileSync(nodePath(path))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return Buffer.alloc(0)
    throw error
  }
}

/** The end of a file, and where in the file it begins. */
function readTail(path: string): { bytes: Buffer; start: number } {
  let file: number
  try {
    file = fs.openSync(nodePath(path), 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { bytes: Buffer.alloc(0), start: 0 }
    throw error
  }
  try {
    const { size } = fs.fstatSync(file)
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES))
    const read = fs.readSync(file, bytes, 0, bytes.length, size - bytes.length)
    return { bytes: bytes.subarray(0, read), start: size - bytes.length }
  } finally {
    fs.closeSync(file)
  }
}
