import { StratumError } from '../../errors/stratum-error.ts'
import {
  listNames,
  makeDirectory,
  readTextIfExists,
  removeIfExists,
  replaceFile,
  syncDirectory,
} from '../../host/files.ts'
import type { CommitId } from '../../names/commit-id.ts'
import type { Label } from '../../names/label.ts'
import { paths, type Store } from '../../store/layout.ts'
import type { CommitSize, CommitSpec, StatusTag } from '../resources/stratum.ts'

/**
 * What this node was asked for and what came of it, a file for each request in `state/requests/<uid>.json`. It is there before the work begins, so
 * that one UID makes at most one commit whatever crashes; that a commit was made is told by the label's log, whose entry names the UID.
 */
export interface JournalEntry {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly label: Label
  readonly spec: CommitSpec
  /** RFC 3339. */
  readonly begun: string
  /** Set when it ended: nothing is done for this UID any more. */
  readonly outcome?: Outcome
}

export type Outcome = Success | Failure

export interface Success {
  readonly ok: true
  readonly ended: string
  readonly commitId: CommitId
  readonly parentId: CommitId | undefined
  readonly merkleRoot: string | undefined
  readonly size: CommitSize | undefined
  readonly pauseMilliseconds: number | undefined
  /** HEAD was as its last commit. */
  readonly unchanged: boolean
  readonly tags: readonly StatusTag[]
}

export interface Failure {
  readonly ok: false
  readonly ended: string
  /** Of the conditions. */
  readonly reason: string
  readonly message: string
  /** Tags that stand in the way. */
  readonly conflicts: readonly string[]
}

const UID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const folder = (store: Store): string => `${paths.state(store)}/requests`

/** @throws usage for a UID that is none: it becomes the name of a file */
function fileOf(store: Store, uid: string): string {
  if (!UID.test(uid)) throw new StratumError('usage', `${JSON.stringify(uid)} is no UID of an object`)
  return `${folder(store)}/${uid}.json`
}

export function readEntry(store: Store, uid: string): JournalEntry | undefined {
  const text = readTextIfExists(fileOf(store, uid))
  return text === undefined ? undefined : (JSON.parse(text) as JournalEntry)
}

export function writeEntry(store: Store, entry: JournalEntry): void {
  if (makeDirectory(folder(store), 0o700)) syncDirectory(paths.state(store))
  replaceFile(fileOf(store, entry.uid), `${JSON.stringify(entry)}\n`)
}

export function listEntries(store: Store): JournalEntry[] {
  return listNames(folder(store)).flatMap(name => {
    const uid = name.replace(/\.json$/, '')
    const entry = UID.test(uid) ? readEntry(store, uid) : undefined
    return entry === undefined ? [] : [entry]
  })
}

/** Requests that ended before a time: their objects are answered or gone, and a UID never comes again. */
export function forgetEntries(store: Store, before: Date): void {
  for (const { uid, outcome } of listEntries(store))
    if (outcome !== undefined && outcome.ended < before.toISOString()) removeIfExists(fileOf(store, uid))
}
