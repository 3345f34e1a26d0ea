import { StratumError } from '../errors/stratum-error.ts'
import { readTextIfExists } from '../host/files.ts'
import { paths, type Store } from '../store/layout.ts'
import type { VolumeId, VolumeRecord } from './volume-record.ts'

const VOLUME_ID = /^vol-([0-9a-f]{8})-[0-9a-f]{24}$/

export function isVolumeId(text: string): text is VolumeId {
  return VOLUME_ID.test(text)
}

/** Whether an id of ours was given out by another store. */
export function isForeign({ id }: Store, volumeId: VolumeId): boolean {
  return VOLUME_ID.exec(volumeId)?.[1] !== id.slice(0, 8)
}

/** The record of a dynamic volume; undefined if the id is none of ours or was deleted. @throws integrity */
export function readVolumeRecord(store: Store, volumeId: string): VolumeRecord | undefined {
  if (!isVolumeId(volumeId)) return undefined
  const text = readTextIfExists(`${paths.state(store)}/volumes/${volumeId}.json`)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as VolumeRecord
  } catch (cause) {
    throw new StratumError('integrity', `the record of volume ${volumeId} is damaged`, { cause })
  }
}
