import { StratumError } from '../errors/stratum-error.ts'
import { quote } from '../names/label.ts'
import type { Store } from '../store/layout.ts'
import { ageKey } from './record-store.ts'
import type { SnapshotRecord } from './snapshot-record.ts'
import type { SnapshotId, VolumeId, VolumeRecord } from './volume-record.ts'
import { allSnapshots, allVolumes, readSnapshot, readVolume } from './volume-store.ts'

/** A part of a list, oldest first. */
export interface Page<Record> {
  readonly records: readonly Record[]
  /** For the part behind it; undefined at the end. */
  readonly next: string | undefined
}

export interface PageRequest {
  /** 0 is all. */
  readonly maxEntries: number
  /** That of the part before; empty for the first. */
  readonly token: string
}

/** @throws conflict for a token that none of these lists gave */
export function listVolumes(store: Store, request: PageRequest): Page<VolumeRecord> {
  return pageOf(allVolumes(store).filter(isReady), request)
}

/** @throws conflict for a token that none of these lists gave */
export function listSnapshots(
  store: Store,
  { volume, ...request }: PageRequest & { readonly volume: VolumeId | undefined },
): Page<SnapshotRecord> {
  const snapshots = allSnapshots(store).filter(isReady)
  return pageOf(volume === undefined ? snapshots : snapshots.filter(each => each.volume === volume), request)
}

/** @throws not-found */
export function requireVolume(store: Store, id: VolumeId | undefined, text: string): VolumeRecord {
  const record = id === undefined ? undefined : readVolume(store, id)
  if (record !== undefined && isReady(record)) return record
  throw new StratumError('not-found', `there is no volume ${quote(text)}`)
}

/** Undefined if there is none. */
export function findSnapshot(store: Store, id: SnapshotId | undefined): SnapshotRecord | undefined {
  const record = id === undefined ? undefined : readSnapshot(store, id)
  return record !== undefined && isReady(record) ? record : undefined
}

function isReady({ state }: { readonly state: string }): boolean {
  return state === 'ready'
}

const TOKEN = /^\d{4}-\d\d-\d\dT[\d:.]+Z (vol|snap)-[0-9a-f]{8}-[0-9a-f]{24}$/

/** A token says behind what the next part begins, so it outlives a restart and the deletion of what it names. */
function pageOf<Record extends { readonly id: string; readonly created: string }>(
  records: readonly Record[],
  { maxEntries, token }: PageRequest,
): Page<Record> {
  const after = token === '' ? '' : Buffer.from(token, 'base64url').toString('latin1')
  if (token !== '' && !TOKEN.test(after))
    throw new StratumError('conflict', `${quote(token)} is no token of this list`, { hint: 'Begin again without one' })
  const rest = records.filter(record => ageKey(record) > after)
  if (maxEntries === 0 || rest.length <= maxEntries) return { records: rest, next: undefined }
  const page = rest.slice(0, maxEntries)
  return { records: page, next: Buffer.from(ageKey(page[page.length - 1])).toString('base64url') }
}
