import { hasCommit } from '../commits/commit-store.ts'
import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import type { CommitId } from '../names/commit-id.ts'
import { quote } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import { readLog } from '../refs/log.ts'
import { moveRefs, tagRef } from '../refs/move-refs.ts'
import { readTag } from '../refs/tags.ts'
import { type Context, lockOptions } from '../repository/context.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { lockLabel, lockLabelIfAny, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import type { Store } from '../store/layout.ts'
import { commitVolume, DEADLINE_MS, MAX_PAUSE_MS } from './commit-volume.ts'
import type { SnapshotRecord } from './snapshot-record.ts'
import type { SnapshotParameters } from './volume-parameters.ts'
import type { NamespacedName, SnapshotId, VolumeId } from './volume-record.ts'
import {
  intendSnapshot,
  readSnapshot,
  readVolume,
  removeSnapshotRecord,
  snapshotIdFor,
  writeSnapshot,
} from './volume-store.ts'
import { ACTOR, contextOf, type Volumes } from './volumes.ts'

export interface SnapshotRequest {
  /** Two requests of one name are one snapshot. */
  readonly name: string
  readonly volume: VolumeId
  readonly parameters: SnapshotParameters
  readonly requester: NamespacedName | undefined
}

/**
 * Takes a snapshot: a commit of the volume's HEAD with a tag of its own. A repeat of the request finishes what was cut off and answers the
 * same. @throws exists (another snapshot of that name), not-found (the volume), in-use, timeout, unclean, no-space, integrity; nothing is
 * left then, or the error is `unavailable`
 */
export async function takeSnapshot(
  volumes: Volumes,
  request: SnapshotRequest,
  signal: AbortSignal,
): Promise<SnapshotRecord> {
  const { store } = volumes
  requireWritable(store)
  const id = snapshotIdFor(store, request.name)
  if (readSnapshot(store, id)?.state === 'deleting') await removeSnapshot(volumes, id, signal)
  const existing = readSnapshot(store, id)
  if (existing !== undefined) requireSame(existing, request)
  if (existing?.state === 'ready') return existing
  try {
    return await finish(volumes, existing ?? intend(store, id, request), existing === undefined, signal)
  } catch (error) {
    const failure = toStratumError(error, `taking the snapshot ${quote(request.name)}`)
    if (signal.aborted) throw failure // whoever gave up comes again
    await removeSnapshot(volumes, id, new AbortController().signal).catch((cause: unknown) => {
      throw new StratumError('unavailable', `${failure.message}; taking it back failed: ${(cause as Error).message}`, {
        cause: error,
      })
    })
    throw failure
  }
}

/** @throws exists */
function requireSame(record: SnapshotRecord, { volume, parameters, requester }: SnapshotRequest): void {
  const differs = (what: string): StratumError =>
    new StratumError('exists', `the snapshot ${quote(record.name)} exists with another ${what} (${record.id})`)
  if (record.volume !== volume) throw differs('volume')
  if (record.consistency !== parameters.consistency) throw differs('consistency')
  if (record.allowUnclean !== parameters.allowUnclean) throw differs('unclean')
  if (record.request?.namespace !== requester?.namespace || record.request?.name !== requester?.name)
    throw differs('VolumeSnapshot')
}

/** Writes down what is going to be made, before it is. @throws not-found */
function intend(
  store: Store,
  id: SnapshotId,
  { name, volume, parameters, requester }: SnapshotRequest,
): SnapshotRecord {
  const source = readVolume(store, volume)
  if (source?.state !== 'ready') throw new StratumError('not-found', `there is no volume ${volume}`)
  const record: SnapshotRecord = {
    id,
    name,
    volume,
    label: source.label,
    tag: id as string as Tag,
    created: new Date().toISOString(),
    state: 'creating',
    commit: undefined,
    capacityBytes: source.capacityBytes,
    ...parameters,
    request: requester,
  }
  intendSnapshot(store, record)
  return record
}

/** A tag that is there is the one that a call before made, which may have been cut off. */
async function finish(
  volumes: Volumes,
  record: SnapshotRecord,
  isNew: boolean,
  signal: AbortSignal,
): Promise<SnapshotRecord> {
  const { store } = volumes
  const mayBeMade = !isNew || readTag(store, record.label, record.tag) !== undefined
  const made = mayBeMade ? await findMade(volumes, record, signal) : undefined
  const { commit, created } = made ?? (await commitFor(volumes, record, signal))
  const ready: SnapshotRecord = { ...record, state: 'ready', commit, created }
  writeSnapshot(store, ready)
  return ready
}

interface Made {
  readonly commit: CommitId
  /** RFC 3339. */
  readonly created: string
}

async function findMade(
  volumes: Volumes,
  { label, tag }: SnapshotRecord,
  signal: AbortSignal,
): Promise<Made | undefined> {
  const { store } = volumes
  using _label = await lockLabel(store, label, { signal })
  using _store = await lockStore(store, 'shared', { signal })
  await recoverHead(store, label) // the move of the tag may have been cut off
  const commit = readTag(store, label, tag)
  if (commit === undefined) return undefined
  const entry = readLog(store, label).findLast(({ refs }) => refs[tagRef(tag)]?.to === commit)
  return { commit, created: entry?.time ?? new Date().toISOString() }
}

async function commitFor(volumes: Volumes, record: SnapshotRecord, signal: AbortSignal): Promise<Made> {
  const { label, tag, name, consistency, allowUnclean, request } = record
  const { commit } = await commitVolume(
    volumes,
    {
      label,
      tags: [{ name: tag, move: false }],
      message: `snapshot ${request === undefined ? name : `${request.namespace}/${request.name}`}`,
      consistency,
      maxPauseMs: MAX_PAUSE_MS,
      deadlineMs: DEADLINE_MS,
      allowUnclean,
      actor: ACTOR,
    },
    signal,
  )
  return { commit: commit.metadata.id, created: new Date().toISOString() }
}

/** Deletes a snapshot: its tag, and no other. Does nothing if there is none. */
export async function removeSnapshot(volumes: Volumes, id: SnapshotId, signal: AbortSignal): Promise<void> {
  const { store } = volumes
  requireWritable(store)
  const record = readSnapshot(store, id)
  if (record === undefined) return
  if (record.state !== 'deleting') writeSnapshot(store, { ...record, state: 'deleting' })
  await removeTagOf(contextOf(volumes, ACTOR, signal), record)
  removeSnapshotRecord(store, id)
}

async function removeTagOf(context: Context, { label, tag }: SnapshotRecord): Promise<void> {
  const { store, actor } = context
  using lock = await lockLabelIfAny(store, label, lockOptions(context))
  if (lock === undefined) return
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  const from = readTag(store, label, tag)
  if (from !== undefined)
    moveRefs(store, label, { actor, operation: 'remove' }, new Map([[tagRef(tag), { from, to: null }]]))
}

/** Whether a volume can begin with it: somebody may have removed its tag by hand. */
export function isUsable(store: Store, { state, commit }: SnapshotRecord): boolean {
  return state === 'ready' && commit !== undefined && hasCommit(store, commit)
}
