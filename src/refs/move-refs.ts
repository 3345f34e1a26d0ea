import { StratumError } from '../errors/stratum-error.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { isTag, type Tag } from '../names/tag.ts'
import type { Store } from '../store/layout.ts'
import { type HeadRecord, readHead, writeHead } from './head-file.ts'
import { appendLog, lastLogEntry, type LogEntry, type RefMove } from './log.ts'
import { readTag, writeTag } from './tags.ts'

const TAGS = 'tags/'
export const HEAD_REF = 'HEAD'

export function tagRef(tag: Tag): string {
  return `${TAGS}${tag}`
}

/** Who does what, for the log. */
export interface Operation extends Omit<LogEntry, 'time' | 'refs'> {}

/**
 * Moves refs of a label together: the log's entry first, then each ref. Whoever comes after a crash finishes what the entry says. The
 * caller holds the label's lock and has called `finishMoves`. @throws conflict if a ref is not where the move begins
 * @param alongWithHead what else is to stand in head.toml, written with its last commit
 */
export function moveRefs(
  store: Store,
  label: Label,
  operation: Operation,
  refs: ReadonlyMap<string, RefMove>,
  alongWithHead?: (head: HeadRecord) => HeadRecord,
): void {
  for (const [ref, { from }] of refs) {
    const current = readRef(store, label, ref)
    if (current !== from)
      throw new StratumError('conflict', `${label}: ${ref} is at ${show(current)}, not at ${show(from)}`)
  }
  const time = new Date().toISOString()
  appendLog(store, label, { time, ...operation, refs: Object.fromEntries(refs) })
  for (const [ref, { from, to }] of refs) {
    const change = ref === HEAD_REF ? alongWithHead : undefined
    if (from !== to || change !== undefined) writeRef(store, label, ref, to, change)
  }
}

/** Finishes the last move of a label if it was interrupted. Returns the refs that were moved now. */
export function finishMoves(store: Store, label: Label): string[] {
  const entry = lastLogEntry(store, label)
  const finished: string[] = []
  for (const [ref, { from, to }] of Object.entries(entry?.refs ?? {})) {
    if (from === to || readRef(store, label, ref) !== from) continue
    if (ref === HEAD_REF && to === null) continue
    writeRef(store, label, ref, to)
    finished.push(ref)
  }
  return finished
}

function readRef(store: Store, label: Label, ref: string): CommitId | null {
  if (ref === HEAD_REF) return readHead(store, label)?.lastCommit ?? null
  return readTag(store, label, tagOf(ref)) ?? null
}

function writeRef(
  store: Store,
  label: Label,
  ref: string,
  to: CommitId | null,
  change: (head: HeadRecord) => HeadRecord = head => head,
): void {
  if (ref !== HEAD_REF) return writeTag(store, label, tagOf(ref), to)
  const head = readHead(store, label)
  if (head !== undefined && to !== null) writeHead(store, label, change({ ...head, lastCommit: to }))
}

function tagOf(ref: string): Tag {
  const name = ref.startsWith(TAGS) ? ref.slice(TAGS.length) : ''
  if (isTag(name)) return name
  throw new StratumError('integrity', `the log names a ref ${JSON.stringify(ref)}, which is none`)
}

function show(id: CommitId | null): string {
  return id === null ? 'nothing' : shortId(id)
}
