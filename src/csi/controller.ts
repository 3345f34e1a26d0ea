import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { freeCapacity } from '../volumes/capacity.ts'
import type { Claims } from '../volumes/claims.ts'
import { createVolume, type VolumeRequest } from '../volumes/create-volume.ts'
import { removeVolume } from '../volumes/delete-volume.ts'
import { findSnapshot, listSnapshots, listVolumes, requireVolume } from '../volumes/list-volumes.ts'
import type { SnapshotRecord } from '../volumes/snapshot-record.ts'
import { isUsable, removeSnapshot, takeSnapshot } from '../volumes/snapshots.ts'
import { parseSnapshotParameters, parseVolumeParameters, requesterOf } from '../volumes/volume-parameters.ts'
import type { SnapshotId, VolumeId, VolumeRecord } from '../volumes/volume-record.ts'
import { parseSnapshotId, parseVolumeId } from '../volumes/volume-store.ts'
import type { Volumes } from '../volumes/volumes.ts'
import type { Methods } from './call.ts'
import { controllerCapabilities, isHere, ownTopology, requireHere, requireUse, unsupportedUse } from './capabilities.ts'
import type { CapacityRange__Output } from './generated/csi/v1/CapacityRange.ts'
import type { ControllerHandlers } from './generated/csi/v1/Controller.ts'
import type { Snapshot } from './generated/csi/v1/Snapshot.ts'
import type { Volume } from './generated/csi/v1/Volume.ts'
import type { VolumeContentSource, VolumeContentSource__Output } from './generated/csi/v1/VolumeContentSource.ts'
import { quote } from '../names/label.ts'
import { required } from './validate.ts'

/** The methods of the Controller service: they translate, `volumes/` does the work. */
export function controllerMethods(volumes: Volumes, claims: Claims): Methods<ControllerHandlers> {
  return {
    ControllerGetCapabilities: async () => ({ capabilities: controllerCapabilities() }),
    ...volumeMethods(volumes, claims),
    ...listMethods(volumes),
    ...snapshotMethods(volumes),
  }
}

function volumeMethods(volumes: Volumes, claims: Claims): Methods<ControllerHandlers> {
  const { store, driver } = volumes
  return {
    CreateVolume: async (request, { signal }) => {
      const name = required(request, 'name')
      requireUse(request.volume_capabilities)
      requireNone(request.mutable_parameters, 'mutable_parameters')
      const wanted: VolumeRequest = {
        name,
        ...readRange(request.capacity_range),
        parameters: parseVolumeParameters(request.parameters),
        claim: requesterOf(request.parameters, 'pvc'),
        source: readSource(volumes, request.volume_content_source),
      }
      requireHere(driver, request.accessibility_requirements)
      return { volume: volumeOf(volumes, await createVolume(volumes, wanted, claims, signal)) }
    },
    DeleteVolume: async (request, { signal }) => {
      // What no store has made is deleted; what another one has made is not, and whoever asks the wrong node has to know.
      const id = parseVolumeId(store, required(request, 'volume_id'))
      if (id !== undefined) await removeVolume(volumes, id, signal)
      return {}
    },
    ValidateVolumeCapabilities: async request => {
      const { volume_capabilities, volume_context, parameters } = request
      const id = required(request, 'volume_id')
      const trouble = unsupportedUse(volume_capabilities)
      requireVolume(store, ownVolumeId(volumes, id), id)
      if (trouble !== undefined) return { message: trouble }
      return { confirmed: { volume_capabilities, volume_context, parameters } }
    },
    ControllerGetVolume: async request => {
      const id = required(request, 'volume_id')
      const record = requireVolume(store, ownVolumeId(volumes, id), id)
      return { volume: volumeOf(volumes, record), status: { published_node_ids: [] } }
    },
    GetCapacity: async ({ volume_capabilities, parameters, accessible_topology }) => {
      parseVolumeParameters(parameters)
      const isUsable = volume_capabilities.length === 0 || unsupportedUse(volume_capabilities) === undefined
      const isOurs = accessible_topology === null || isHere(driver, accessible_topology)
      const bytes = isUsable && isOurs ? freeCapacity(store) : 0
      return { available_capacity: bytes, maximum_volume_size: { value: bytes } }
    },
  }
}

function listMethods(volumes: Volumes): Methods<ControllerHandlers> {
  const { store } = volumes
  return {
    ListVolumes: async ({ max_entries, starting_token }) => {
      const { records, next } = listVolumes(store, { maxEntries: entries(max_entries), token: starting_token })
      return { entries: records.map(record => ({ volume: volumeOf(volumes, record) })), next_token: next ?? '' }
    },
    ListSnapshots: async ({ max_entries, starting_token, source_volume_id, snapshot_id }) => {
      const page = { maxEntries: entries(max_entries), token: starting_token }
      if (snapshot_id !== '') {
        const found = findSnapshot(store, ownSnapshotId(volumes, snapshot_id))
        const isMeant = source_volume_id === '' || found?.volume === source_volume_id
        return { entries: found !== undefined && isMeant ? [{ snapshot: snapshotOf(volumes, found) }] : [] }
      }
      const volume = source_volume_id === '' ? undefined : ownVolumeId(volumes, source_volume_id)
      if (source_volume_id !== '' && volume === undefined) return { entries: [] }
      const { records, next } = listSnapshots(store, { ...page, volume })
      return { entries: records.map(record => ({ snapshot: snapshotOf(volumes, record) })), next_token: next ?? '' }
    },
  }
}

function snapshotMethods(volumes: Volumes): Methods<ControllerHandlers> {
  const { store, driver } = volumes
  return {
    CreateSnapshot: async (request, { signal }) => {
      const source = required(request, 'source_volume_id')
      const name = required(request, 'name')
      const parameters = parseSnapshotParameters(request.parameters)
      const requester = requesterOf(request.parameters, 'volumesnapshot')
      requireHere(driver, request.accessibility_requirements)
      const volume = parseVolumeId(store, source)
      if (volume === undefined) throw new StratumError('not-found', `there is no volume ${quote(source)}`)
      return {
        snapshot: snapshotOf(volumes, await takeSnapshot(volumes, { name, volume, parameters, requester }, signal)),
      }
    },
    DeleteSnapshot: async (request, { signal }) => {
      const id = parseSnapshotId(store, required(request, 'snapshot_id'))
      if (id !== undefined) await removeSnapshot(volumes, id, signal)
      return {}
    },
    GetSnapshot: async request => {
      const text = required(request, 'snapshot_id')
      const record = findSnapshot(store, ownSnapshotId(volumes, text))
      if (record === undefined) throw new StratumError('not-found', `there is no snapshot ${quote(text)}`)
      return { snapshot: snapshotOf(volumes, record) }
    },
  }
}

function volumeOf({ driver }: Volumes, record: VolumeRecord): Volume {
  return {
    volume_id: record.id,
    capacity_bytes: record.capacityBytes,
    volume_context: {},
    content_source: contentSourceOf(record),
    accessible_topology: ownTopology(driver),
  }
}

function contentSourceOf({ source }: VolumeRecord): VolumeContentSource | null {
  if (source?.kind === 'snapshot') return { snapshot: { snapshot_id: source.id } }
  return source?.kind === 'volume' ? { volume: { volume_id: source.id } } : null
}

/** Its size is the volume's, which is what a new volume needs at least: nothing limits a HEAD to it. */
function snapshotOf({ store }: Volumes, record: SnapshotRecord): Snapshot {
  const milliseconds = Date.parse(record.created)
  return {
    snapshot_id: record.id,
    source_volume_id: record.volume,
    size_bytes: record.capacityBytes,
    creation_time: { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1_000_000 },
    ready_to_use: isUsable(store, record),
  }
}

/** @throws usage, out-of-range */
function readRange(range: CapacityRange__Output | null): Pick<VolumeRequest, 'requiredBytes' | 'limitBytes'> {
  const requiredBytes = bytes(range?.required_bytes, 'required_bytes')
  const limitBytes = bytes(range?.limit_bytes, 'limit_bytes')
  if (limitBytes === 0 || requiredBytes <= limitBytes) return { requiredBytes, limitBytes }
  throw new StratumError('out-of-range', `limit_bytes ${limitBytes} is below required_bytes ${requiredBytes}`)
}

function bytes(text: string | undefined, field: string): number {
  const value = Number(text ?? 0)
  if (value < 0) throw new StratumError('usage', `${field} is negative`)
  if (Number.isSafeInteger(value)) return value
  throw new StratumError('out-of-range', `${field} is more than any disk has`)
}

function entries(count: number): number {
  if (count >= 0) return count
  throw new StratumError('usage', 'max_entries is negative')
}

/** @throws usage, not-found (an id that no store has made), wrong-node (one of another store) */
function readSource(
  { store }: Volumes,
  source: VolumeContentSource__Output | null,
): { kind: 'snapshot'; id: SnapshotId } | { kind: 'volume'; id: VolumeId } | undefined {
  if (source === null) return undefined
  const snapshot = source.snapshot?.snapshot_id
  const volume = source.volume?.volume_id
  if (!snapshot && !volume) throw new StratumError('usage', 'volume_content_source names neither snapshot nor volume')
  const snapshotId = snapshot ? parseSnapshotId(store, snapshot) : undefined
  if (snapshotId !== undefined) return { kind: 'snapshot', id: snapshotId }
  const volumeId = volume ? parseVolumeId(store, volume) : undefined
  if (volumeId !== undefined) return { kind: 'volume', id: volumeId }
  throw new StratumError(
    'not-found',
    `there is no ${snapshot ? 'snapshot' : 'volume'} ${quote(snapshot || volume || '')}`,
  )
}

/** Undefined if this store has not made it. */
function ownVolumeId({ store }: Volumes, text: string): VolumeId | undefined {
  return unlessForeign(() => parseVolumeId(store, text))
}

function ownSnapshotId({ store }: Volumes, text: string): SnapshotId | undefined {
  return unlessForeign(() => parseSnapshotId(store, text))
}

function unlessForeign<Id>(parse: () => Id | undefined): Id | undefined {
  try {
    return parse()
  } catch (error) {
    if (isStratumError(error, 'wrong-node')) return undefined
    throw error
  }
}

/** @throws usage for what this driver has no capability for */
function requireNone(map: Readonly<Record<string, string>>, field: string): void {
  if (Object.keys(map).length > 0) throw new StratumError('usage', `${field} is not supported`)
}
