import { readCommit } from '../../commits/commit-store.ts'
import { toStratumError } from '../../errors/errno.ts'
import { isStratumError, StratumError } from '../../errors/stratum-error.ts'
import { ERROR_TABLE } from '../../errors/table.ts'
import type { Consistency } from '../../heads/stand-still.ts'
import type { CommitId } from '../../names/commit-id.ts'
import type { Label } from '../../names/label.ts'
import { parseReference } from '../../names/reference.ts'
import { parseTag } from '../../names/tag.ts'
import { type LogEntry, readLog } from '../../refs/log.ts'
import { HEAD_REF, tagRef } from '../../refs/move-refs.ts'
import { readTag } from '../../refs/tags.ts'
import { automaticTag, type TagWish } from '../../repository/record-commit.ts'
import { recoverLabel } from '../../repository/recover.ts'
import { setTags } from '../../repository/set-tags.ts'
import type { Store } from '../../store/layout.ts'
import { commitVolume } from '../../volumes/commit-volume.ts'
import { contextOf, type Volumes } from '../../volumes/volumes.ts'
import type { CommitSpec, StatusTag, TagState } from '../resources/stratum.ts'
import type { Failure, JournalEntry, Success } from './request-journal.ts'

/**
 * Does what a journaled request asks for, unless the label's log says that it was done: the entry that moves HEAD and tags names the request, so the two
 * cannot be told apart by a crash. @throws what may be better later; what will not is returned as a failure
 */
export async function carryOut(
  volumes: Volumes,
  entry: JournalEntry,
  { signal, deadlineMs }: { signal: AbortSignal; deadlineMs: number },
): Promise<Success | Failure> {
  const { store } = volumes
  const done = findDone(store, entry)
  if (done !== undefined) {
    await recoverLabel(contextOf(volumes, 'node', signal), entry.label)
    return successOf(store, entry, done)
  }
  try {
    if (entry.spec.source.head === undefined) await tag(volumes, entry, signal)
    else await commit(volumes, entry, { signal, deadlineMs })
  } catch (error) {
    signal.throwIfAborted()
    const failure = toStratumError(error, `the request of ${entry.label}`)
    if (isFinal(failure, entry.spec)) return failureOf(store, entry, failure)
    throw failure
  }
  const recorded = findDone(store, entry)
  if (recorded === undefined)
    throw new StratumError('internal', `the log of ${entry.label} has no entry of the request`)
  return successOf(store, entry, recorded)
}

/** The entry of the label's log that a request made. */
export function findDone(store: Store, { label, uid }: Pick<JournalEntry, 'label' | 'uid'>): LogEntry | undefined {
  return readLog(store, label).findLast(({ notes }) => notes?.request === uid)
}

async function commit(
  volumes: Volumes,
  { uid, namespace, name, label, spec }: JournalEntry,
  { signal, deadlineMs }: { signal: AbortSignal; deadlineMs: number },
): Promise<void> {
  const request = {
    label,
    tags: wishesOf(spec),
    message: spec.message,
    consistency: consistencyOf(spec),
    maxPauseMs: spec.maxPauseMilliseconds,
    deadlineMs,
    allowUnclean: spec.unclean === 'Allow',
    refuseUnchanged: spec.emptyPolicy === 'Fail',
    actor: `stratumcommit/${namespace}/${name}`,
    notes: { request: uid },
  }
  await commitVolume(volumes, request, signal)
}

async function tag(
  volumes: Volumes,
  { uid, namespace, name, label, spec }: JournalEntry,
  signal: AbortSignal,
): Promise<void> {
  const wanted = spec.source.commit ?? spec.source.tag
  if (wanted === undefined) throw newer(`the source ${JSON.stringify(spec.source)}`)
  const source = parseReference(`${label}:${wanted}`)
  const request = { source, tags: wishesOf(spec), message: spec.message, notes: { request: uid } }
  await setTags(contextOf(volumes, `stratumcommit/${namespace}/${name}`, signal), request)
}

const CONSISTENCIES: Readonly<Record<string, Consistency>> = { Freeze: 'freeze', Live: 'live', Idle: 'idle' }

function consistencyOf({ consistency }: CommitSpec): Consistency {
  const known = CONSISTENCIES[consistency]
  if (known === undefined) throw newer(`consistency ${consistency}`)
  return known
}

/** An object may be left from a newer version whose schema knew more: what is not understood is not guessed. */
function newer(what: string): StratumError {
  return new StratumError('usage', `this version of Stratum does not know ${what}`, {
    hint: 'Make a new StratumCommit, or upgrade',
  })
}

function wishesOf({ tags = [] }: CommitSpec): TagWish[] {
  return tags.map(({ name, policy, expected }) => ({
    name: parseTag(name),
    move: policy === 'Move',
    expected: expected as CommitId | undefined,
  }))
}

/** Whether trying again before the deadline is no use. */
function isFinal(error: StratumError, { source, consistency }: CommitSpec): boolean {
  if (error.code === 'in-use') return consistency === 'Idle' // refused with the names of who writes
  if (error.code === 'not-found') return source.head === undefined
  // A tag that is not where it was expected; a freeze that was tried until the deadline.
  if (error.code === 'conflict' || error.code === 'timeout') return true
  return !ERROR_TABLE[error.code].retry
}

export function failureOf(store: Store, { label, spec }: JournalEntry, error: StratumError): Failure {
  const isTag = isStratumError(error, 'exists') || isStratumError(error, 'conflict')
  return {
    ok: false,
    ended: new Date().toISOString(),
    reason: ERROR_TABLE[error.code].reason,
    message: error.hint === undefined ? error.message : `${error.message}. ${error.hint}`,
    conflicts: isTag ? conflictsOf(store, label, spec) : [],
  }
}

/** Tags that exist where they were to be new, or are not where they were expected. */
function conflictsOf(store: Store, label: Label, spec: CommitSpec): string[] {
  return wishesOf(spec).flatMap(({ name, move, expected }) => {
    const current = readTag(store, label, name)
    const stands = move ? expected !== undefined && current !== expected : current !== undefined
    return stands ? [name] : []
  })
}

function successOf(store: Store, { spec }: JournalEntry, { refs, notes }: LogEntry): Success {
  const head = refs[HEAD_REF]
  const commitId = head?.to ?? Object.values(refs).find(({ to }) => to !== null)?.to
  if (!commitId) throw new StratumError('integrity', 'the log names no commit for the request')
  const metadata = tryReadCommit(store, commitId)
  const names = (spec.tags ?? []).map(({ name }) => name)
  const automatic = automaticTag(commitId)
  const shown = names.length > 0 ? names : refs[tagRef(automatic)]?.to === commitId ? [automatic] : []
  const unchanged = head !== undefined && head.from === head.to
  const size =
    metadata === undefined
      ? undefined
      : {
          files: metadata.files,
          bytes: metadata.bytes,
          ...(head === undefined ? {} : { filesChanged: countOf(notes?.files), bytesAdded: countOf(notes?.bytes) }),
        }
  return {
    ok: true,
    ended: new Date().toISOString(),
    commitId,
    parentId: (unchanged ? undefined : head?.from) ?? metadata?.parent,
    merkleRoot: metadata?.merkleRoot,
    size,
    pauseMilliseconds: head === undefined ? undefined : Math.ceil(countOf(notes?.pauseMs)),
    unchanged,
    tags: shown.map((name): StatusTag => ({ name, state: stateOf(refs[tagRef(parseTag(name))]) })),
  }
}

function stateOf(move: LogEntry['refs'][string] | undefined): TagState {
  if (move === undefined || move.from === move.to) return 'Unchanged'
  return move.from === null ? 'Created' : 'Moved'
}

function countOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

/** Undefined where the garbage collection took it since. */
function tryReadCommit(store: Store, id: CommitId): ReturnType<typeof readCommit> | undefined {
  try {
    return readCommit(store, id)
  } catch (error) {
    if (isStratumError(error, 'not-found')) return undefined
    throw error
  }
}
