import { StratumError } from '../errors/stratum-error.ts'
import { clearHalfMade } from '../heads/create-head.ts'
import { exists } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { moveRefs, tagRef } from '../refs/move-refs.ts'
import { hasLabel, readTags } from '../refs/tags.ts'
import { type Context, lockOptions } from '../repository/context.ts'
import { planRemoval, removeReference } from '../repository/remove.ts'
import { discardHead, prepareHeadRemoval } from '../repository/remove-head.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockLabelIfAny, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { unmountHead } from './head-overlay.ts'
import { headTargets } from './ledger.ts'
import type { VolumeId, VolumeRecord } from './volume-record.ts'
import { allSnapshots, readVolume, removeVolumeRecord, writeVolume } from './volume-store.ts'
import { ACTOR, contextOf, type Volumes } from './volumes.ts'

/**
 * Deletes a volume: its HEAD, and with `onDelete: Label` the label but for the tags of snapshots. What was not committed is in the trash
 * for the grace period. Does nothing for a volume that there is not. @throws in-use while it is published or mounted
 */
export async function removeVolume(volumes: Volumes, id: VolumeId, signal: AbortSignal): Promise<void> {
  const { store, holders } = volumes
  requireWritable(store)
  const record = readVolume(store, id)
  if (record === undefined) return
  const context = contextOf(volumes, ACTOR, signal)
  requireUnpublished(volumes, record)
  await unmountHead(volumes, record.label, signal)
  const isWholeLabel = await removeHeadOf(context, record)
  if (isWholeLabel && hasLabel(store, record.label))
    await removeReference(context, { label: record.label, kind: 'head' })
  await holders.release(record.label)
  removeVolumeRecord(store, id)
}

/** @throws in-use */
function requireUnpublished({ ledger }: Volumes, { id, label }: VolumeRecord): void {
  const [published] = headTargets(ledger, label)
  if (published === undefined) return
  throw new StratumError('in-use', `the volume ${id} (${label}) is published at ${toUser(published.target)}`, {
    hint: 'It is deleted when the last pod that uses it is gone',
  })
}

/** Returns whether the rest of the label is to go too. The record says what is being done before the first thing goes. */
async function removeHeadOf(context: Context, record: VolumeRecord): Promise<boolean> {
  const { store } = context
  const { label, onDelete } = record
  using lock = await lockLabelIfAny(store, label, lockOptions(context))
  if (lock === undefined) {
    writeVolume(store, { ...record, state: 'deleting' }) // who is about to make its HEAD finds that out
    return false
  }
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await prepareHeadRemoval(store, label)
  const tags = readTags(store, label)
  const kept = snapshotTags(store, label)
  const isWholeLabel = onDelete === 'Label' && !kept.some(tag => tags.has(tag)) && hasLabel(store, label)
  if (isWholeLabel) planRemoval(store, { label, kind: 'head' }) // refuses while one of its tags is mounted
  writeVolume(store, { ...record, state: 'deleting' })
  discardHead(context, label)
  if (onDelete === 'Label' && !isWholeLabel) {
    const going = [...tags].filter(([tag]) => !kept.includes(tag))
    const moves = new Map(going.map(([tag, from]) => [tagRef(tag), { from, to: null }]))
    if (moves.size > 0) moveRefs(store, label, { actor: ACTOR, operation: 'remove' }, moves)
  }
  return isWholeLabel
}

function snapshotTags(store: Store, label: Label): Tag[] {
  return allSnapshots(store).flatMap(snapshot => (snapshot.label === label ? [snapshot.tag] : []))
}

/** Takes back a volume whose making failed, were it in the last step: nobody was told of it. */
export async function takeBackVolume({ store, holders }: Volumes, id: VolumeId): Promise<void> {
  const record = readVolume(store, id)
  if (record === undefined || record.state === 'deleting') return
  await takeBackHead(store, record.label)
  await holders.release(record.label)
  removeVolumeRecord(store, id)
}

async function takeBackHead(store: Store, label: Label): Promise<void> {
  using lock = await lockLabelIfAny(store, label)
  if (lock === undefined) return
  using _store = await lockStore(store, 'shared')
  if (!exists(paths.headFile(store, label))) return clearHalfMade(store, label)
  await prepareHeadRemoval(store, label)
  discardHead({ store, actor: ACTOR }, label)
}
