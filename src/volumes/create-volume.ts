import { hasCommit } from '../commits/commit-store.ts'
import { toStratumError } from '../errors/errno.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { createHead } from '../heads/create-head.ts'
import { exists } from '../host/files.ts'
import { sameState, type Stat, statIfExists } from '../host/stat.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { type Label, quote } from '../names/label.ts'
import { formatReference, parseReference } from '../names/reference.ts'
import { readHead } from '../refs/head-file.ts'
import { appendLog } from '../refs/log.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { createEmptyCommit } from '../repository/empty-commit.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockNewLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { clearStaleStaging } from '../store/staging.ts'
import { requireCapacity } from './capacity.ts'
import { labelsFor, referenceFor } from './claim-label.ts'
import type { Claims } from './claims.ts'
import { commitVolume, DEADLINE_MS, MAX_PAUSE_MS } from './commit-volume.ts'
import { removeVolume, takeBackVolume } from './delete-volume.ts'
import type { VolumeParameters } from './volume-parameters.ts'
import type { NamespacedName, VolumeId, VolumeRecord, VolumeSource } from './volume-record.ts'
import {
  allVolumes,
  intendVolume,
  readSnapshot,
  readVolume,
  syncVolumes,
  volumeIdFor,
  writeVolume,
} from './volume-store.ts'
import { ACTOR, type Volumes } from './volumes.ts'

export interface VolumeRequest {
  /** Two requests of one name are one volume. */
  readonly name: string
  readonly parameters: VolumeParameters
  /** Bytes; 0 is any. */
  readonly requiredBytes: number
  /** Bytes; 0 is none. */
  readonly limitBytes: number
  readonly source: Exclude<VolumeSource, { kind: 'reference' }> | undefined
  readonly claim: NamespacedName | undefined
}

/**
 * Makes a volume: the HEAD of a label, empty or on a commit that there is, which takes as long whatever its size. A repeat of the request
 * finishes what was cut off and answers the same. @throws exists (another volume of that name), not-found (the source), wrong-node,
 * other-holder, no-space, in-use, integrity (its HEAD is lost); nothing is left then, or the error is `unavailable`
 */
export async function createVolume(
  volumes: Volumes,
  request: VolumeRequest,
  claims: Claims,
  signal: AbortSignal,
): Promise<VolumeRecord> {
  const { store } = volumes
  requireWritable(store)
  const existing = await readUnlessDeleting(volumes, volumeIdFor(store, request.name), signal)
  if (existing !== undefined) requireSame(existing, request)
  const ready =
    existing?.state === 'ready'
      ? requireItsHead(store, existing)
      : await makeOrTakeBack(volumes, request.name, signal, async () =>
          finish(volumes, existing ?? (await intend(volumes, request, claims, signal)), signal),
        )
  if (ready.claim !== undefined) await claims.tellLabel(ready.claim, ready.label, signal)
  return ready
}

/** Whoever gave up comes again and has it finished; after any other error nobody may come again. */
async function makeOrTakeBack(
  volumes: Volumes,
  name: string,
  signal: AbortSignal,
  make: () => Promise<VolumeRecord>,
): Promise<VolumeRecord> {
  try {
    return await make()
  } catch (error) {
    const failure = toStratumError(error, `making the volume ${quote(name)}`)
    if (signal.aborted) throw failure
    await takeBackVolume(volumes, volumeIdFor(volumes.store, name)).catch((cause: unknown) => {
      throw new StratumError('unavailable', `${failure.message}; taking it back failed: ${(cause as Error).message}`, {
        cause: error,
      })
    })
    throw failure
  }
}

/** A deletion that was cut off is finished first: the volume of that name is a new one. */
async function readUnlessDeleting(
  volumes: Volumes,
  id: VolumeId,
  signal: AbortSignal,
): Promise<VolumeRecord | undefined> {
  const record = readVolume(volumes.store, id)
  if (record?.state !== 'deleting') return record
  await removeVolume(volumes, id, signal)
  return undefined
}

/** @throws exists */
function requireSame(record: VolumeRecord, { parameters, source, claim, ...request }: VolumeRequest): void {
  const { requiredBytes, limitBytes } = request
  const differs = (what: string): StratumError =>
    new StratumError('exists', `the volume ${quote(record.name)} exists with another ${what} (${record.id})`)
  if (record.capacityBytes < requiredBytes || (limitBytes > 0 && record.capacityBytes > limitBytes))
    throw differs('capacity')
  for (const key of ['uid', 'gid', 'mode', 'onDelete'] as const) if (record[key] !== parameters[key]) throw differs(key)
  const had = record.source?.kind === 'reference' ? undefined : record.source
  if (had?.kind !== source?.kind || had?.id !== source?.id) throw differs('source')
  if (record.claim?.namespace !== claim?.namespace || record.claim?.name !== claim?.name) throw differs('claim')
}

/** A HEAD that was lost is not replaced by an empty one: whoever mounts it would not notice. @throws integrity */
function requireItsHead(store: Store, record: VolumeRecord): VolumeRecord {
  if (readHead(store, record.label) !== undefined) return record
  throw new StratumError(
    'integrity',
    `HEAD of ${record.label}, made for the volume ${record.id} on ${record.created}, is not in the store any more`,
    { hint: 'Bring refs/ back from a backup, or delete the volume' },
  )
}

/** Decides on a label and writes down that it is this volume's, before anything is made. */
async function intend(
  volumes: Volumes,
  request: VolumeRequest,
  claims: Claims,
  signal: AbortSignal,
): Promise<VolumeRecord> {
  const { store } = volumes
  const { name, parameters, requiredBytes, claim } = request
  const wishes = claim === undefined ? undefined : await claims.read(claim, signal)
  const source = request.source ?? sourceWished(claim, wishes?.from)
  requireCapacity(store, request)
  const labels = labelsFor(name, claim, wishes ?? { uid: undefined, label: undefined, from: undefined })
  const record = {
    id: volumeIdFor(store, name),
    name,
    created: new Date().toISOString(),
    state: 'creating',
    ...parameters,
    capacityBytes: requiredBytes,
    source,
    commit: commitOf(store, source),
    claim,
  } as const
  for (const label of labels) {
    if (await claimLabel(volumes, { ...record, label }, signal)) return { ...record, label }
  }
  throw new StratumError('in-use', `HEAD of ${labels.join(' and of ')} belongs to other volumes already`, {
    hint: 'Name another label with the annotation stratum.dev/label of the claim, or delete the volume that has it',
  })
}

function sourceWished(claim: NamespacedName | undefined, from: string | undefined): VolumeSource | undefined {
  if (claim === undefined || from === undefined) return undefined
  return { kind: 'reference', reference: formatReference(referenceFor(claim, from)) }
}

/** The commit that a volume begins with, as far as there is one already. @throws not-found, wrong-node */
function commitOf(store: Store, source: VolumeSource | undefined): CommitId | undefined {
  if (source?.kind === 'reference') return resolveHere(store, source.reference)
  if (source?.kind === 'snapshot') {
    const snapshot = readSnapshot(store, source.id)
    if (snapshot?.state !== 'ready') throw new StratumError('not-found', `there is no snapshot ${source.id}`)
    return snapshot.commit
  }
  if (source?.kind === 'volume' && readVolume(store, source.id)?.state !== 'ready')
    throw new StratumError('not-found', `there is no volume ${source.id}`)
  return undefined
}

/** A tag is on the node where it was made: the scheduler is to look on another one. */
function resolveHere(store: Store, reference: string): CommitId {
  try {
    return resolveCommit(store, parseReference(reference)).id
  } catch (error) {
    if (!isStratumError(error, 'not-found')) throw error
    throw new StratumError('wrong-node', `${reference} is not on this node: ${error.message}`, { cause: error })
  }
}

/** Writes the record if nobody else has that label's HEAD, here or on another node. */
async function claimLabel(volumes: Volumes, record: VolumeRecord, signal: AbortSignal): Promise<boolean> {
  const { store, holders } = volumes
  if (isTaken(store, record.label)) return false
  try {
    await holders.take(record.label, signal)
  } catch (error) {
    if (isStratumError(error, 'other-holder')) return false
    throw error
  }
  using _label = await lockNewLabel(store, record.label, { signal })
  if (isTaken(store, record.label)) return false
  intendVolume(store, record)
  return true
}

/** An upperdir without head.toml is somebody's data too. */
function isTaken(store: Store, label: Label): boolean {
  return (
    exists(paths.headFile(store, label)) ||
    exists(paths.upper(store, label)) ||
    allVolumes(store).some(other => other.label === label)
  )
}

async function finish(volumes: Volumes, record: VolumeRecord, signal: AbortSignal): Promise<VolumeRecord> {
  const commit = record.commit ?? (await commitOfSource(volumes, record, signal))
  return makeHead(volumes, { ...record, commit }, signal)
}

/** A clone begins with what its source holds now. Only the source's HEAD keeps that commit until the new HEAD does. */
async function commitOfSource(
  volumes: Volumes,
  { source, claim, name }: VolumeRecord,
  signal: AbortSignal,
): Promise<CommitId | undefined> {
  if (source?.kind !== 'volume') return undefined
  const original = readVolume(volumes.store, source.id)
  if (original?.state !== 'ready') throw new StratumError('not-found', `there is no volume ${source.id}`)
  requireItsHead(volumes.store, original)
  const { commit } = await commitVolume(
    volumes,
    {
      label: original.label,
      tags: [],
      automaticTag: false,
      message: `for a clone: ${claim === undefined ? name : `${claim.namespace}/${claim.name}`}`,
      consistency: 'freeze',
      maxPauseMs: MAX_PAUSE_MS,
      deadlineMs: DEADLINE_MS,
      allowUnclean: true,
      actor: ACTOR,
    },
    signal,
  )
  return commit.metadata.id
}

/** The HEAD, then the record that says so. A HEAD that is there is the one that a call before made. */
async function makeHead(
  { store }: Volumes,
  { commit: wanted, ...record }: VolumeRecord,
  signal: AbortSignal,
): Promise<VolumeRecord> {
  const { id, label } = record
  using _label = await lockNewLabel(store, label, { signal })
  using _store = await lockStore(store, 'shared', { signal })
  if (readVolume(store, id)?.state !== 'creating') throw new StratumError('busy', `the volume ${id} is being deleted`)
  clearStaleStaging(store)
  const existing = readHead(store, label)
  const commit = existing?.base ?? wanted ?? (await emptyCommit(store, record))
  if (!hasCommit(store, commit))
    throw new StratumError('not-found', `the commit ${shortId(commit)} that ${label} should begin with is gone`)
  if (existing === undefined) {
    syncVolumes(store) // a HEAD without its record would be somebody else's
    createHead(store, label, commit)
    const notes = { volume: id }
    appendLog(store, label, {
      time: new Date().toISOString(),
      actor: ACTOR,
      operation: 'create volume',
      refs: {},
      notes,
    })
  }
  const ready: VolumeRecord = { ...record, commit, state: 'ready' }
  writeVolume(store, ready)
  return ready
}

/** The commits that empty volumes begin with, by owner and mode, as they were when they were made durable. */
const emptyCommits = new Map<string, { readonly id: CommitId; readonly image: Stat | undefined }>()

/** Made once for many volumes. If it was collected since, or somebody else made it again, it is made again here, too. */
async function emptyCommit(store: Store, record: Omit<VolumeRecord, 'commit'>): Promise<CommitId> {
  const root = rootOf(record)
  const key = `${store.path} ${root.uid}:${root.gid} ${root.mode}`
  const known = emptyCommits.get(key)
  if (known?.image !== undefined && hasCommit(store, known.id)) {
    const image = statIfExists(paths.image(store, known.id))
    if (image !== undefined && sameState(image, known.image)) return known.id
  }
  const id = await createEmptyCommit(store, root)
  emptyCommits.set(key, { id, image: statIfExists(paths.image(store, id)) })
  return id
}

const DIRECTORY = 0o040000

function rootOf({ uid, gid, mode }: Omit<VolumeRecord, 'commit'>): { uid: number; gid: number; mode: number } {
  return { uid, gid, mode: DIRECTORY | mode }
}
