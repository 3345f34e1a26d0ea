import * as v from 'valibot'
import { isCommitId, type CommitId } from '../names/commit-id.ts'
import { isLabel, type Label } from '../names/label.ts'
import { isTag, type Tag } from '../names/tag.ts'
import type { Store } from '../store/layout.ts'
import {
  allRecords,
  idFor,
  parseId,
  type RecordKind,
  readRecord,
  removeRecord,
  syncRecords,
  tidyRecords,
  writeRecord,
} from './record-store.ts'
import type { SnapshotRecord } from './snapshot-record.ts'
import type { SnapshotId, VolumeId, VolumeRecord } from './volume-record.ts'

const label = v.custom<Label>(value => typeof value === 'string' && isLabel(value), 'its label is none')
const commit = v.custom<CommitId>(value => typeof value === 'string' && isCommitId(value), 'its commit is none')
const tag = v.custom<Tag>(value => typeof value === 'string' && isTag(value), 'its tag is none')
const volumeId = v.custom<VolumeId>(value => typeof value === 'string')
const snapshotId = v.custom<SnapshotId>(value => typeof value === 'string')
const number = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const namespaced = v.object({ namespace: v.string(), name: v.string() })
const state = v.picklist(['creating', 'ready', 'deleting'])
/** A key that JSON leaves away is undefined. */
const orUndefined = <Schema extends v.GenericSchema>(schema: Schema): v.OptionalSchema<Schema, () => undefined> =>
  v.optional(schema, () => undefined)

const VOLUME = v.object({
  id: volumeId,
  name: v.string(),
  label,
  created: v.string(),
  state,
  onDelete: v.picklist(['Head', 'Label']),
  capacityBytes: number,
  uid: number,
  gid: number,
  mode: number,
  source: orUndefined(
    v.variant('kind', [
      v.object({ kind: v.literal('snapshot'), id: snapshotId }),
      v.object({ kind: v.literal('volume'), id: volumeId }),
      v.object({ kind: v.literal('reference'), reference: v.string() }),
    ]),
  ),
  commit: orUndefined(commit),
  claim: orUndefined(namespaced),
})

const SNAPSHOT = v.object({
  id: snapshotId,
  name: v.string(),
  volume: volumeId,
  label,
  tag,
  created: v.string(),
  state,
  commit: orUndefined(commit),
  capacityBytes: number,
  consistency: v.picklist(['live', 'freeze', 'idle']),
  allowUnclean: v.boolean(),
  request: orUndefined(namespaced),
})

const VOLUMES: RecordKind<VolumeRecord> = {
  prefix: 'vol',
  folder: 'volumes',
  noun: 'volume',
  parse: value => v.parse(VOLUME, value),
  known: new Map(),
}

const SNAPSHOTS: RecordKind<SnapshotRecord> = {
  prefix: 'snap',
  folder: 'snapshots',
  noun: 'snapshot',
  parse: value => v.parse(SNAPSHOT, value),
  known: new Map(),
}

export const volumeIdFor = (store: Store, name: string): VolumeId => idFor(VOLUMES, store, name)
export const snapshotIdFor = (store: Store, name: string): SnapshotId => idFor(SNAPSHOTS, store, name)

/** The id that somebody sent; undefined if no store can have made it. @throws wrong-node if it is of another store */
export const parseVolumeId = (store: Store, text: string): VolumeId | undefined => parseId(VOLUMES, store, text)
export const parseSnapshotId = (store: Store, text: string): SnapshotId | undefined => parseId(SNAPSHOTS, store, text)

/** Undefined if there is none. @throws integrity */
export const readVolume = (store: Store, id: VolumeId): VolumeRecord | undefined => readRecord(VOLUMES, store, id)
export const readSnapshot = (store: Store, id: SnapshotId): SnapshotRecord | undefined =>
  readRecord(SNAPSHOTS, store, id)

/** Durable when it returns. */
export const writeVolume = (store: Store, record: VolumeRecord): void => writeRecord(VOLUMES, store, record)
export const writeSnapshot = (store: Store, record: SnapshotRecord): void => writeRecord(SNAPSHOTS, store, record)

/** Writes down what is going to be made; that is durable when `syncVolumes` returns, and for a snapshot when it is `ready`. */
export const intendVolume = (store: Store, record: VolumeRecord): void => writeRecord(VOLUMES, store, record, 'bytes')
export const syncVolumes = (store: Store): void => syncRecords(VOLUMES, store)
export const intendSnapshot = (store: Store, record: SnapshotRecord): void =>
  writeRecord(SNAPSHOTS, store, record, 'bytes')

/** Durable when it returns. */
export const removeVolumeRecord = (store: Store, id: VolumeId): void => removeRecord(VOLUMES, store, id)
export const removeSnapshotRecord = (store: Store, id: SnapshotId): void => removeRecord(SNAPSHOTS, store, id)

/** Oldest first. @throws integrity */
export const allVolumes = (store: Store): VolumeRecord[] => allRecords(VOLUMES, store)
export const allSnapshots = (store: Store): SnapshotRecord[] => allRecords(SNAPSHOTS, store)

/** Removes what writes that were cut off left. Only who is alone with the records may do this. */
export function tidyAllRecords(store: Store): void {
  tidyRecords(VOLUMES, store)
  tidyRecords(SNAPSHOTS, store)
}
