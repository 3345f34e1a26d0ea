import { StratumError } from '../errors/stratum-error.ts'
import { quote } from '../names/label.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { AccessMode } from '../volumes/ledger.ts'
import { orphanedTargets } from '../volumes/pod-freezers.ts'
import { publishVolume } from '../volumes/publish.ts'
import type { PublishRequest } from '../volumes/publish-request.ts'
import { unpublishVolume } from '../volumes/unpublish.ts'
import { createUsageCache, volumeStats } from '../volumes/volume-stats.ts'
import type { Volumes } from '../volumes/volumes.ts'
import type { Methods } from './call.ts'
import { ownTopology } from './capabilities.ts'
import type { NodeHandlers } from './generated/csi/v1/Node.ts'
import type { NodePublishVolumeRequest__Output } from './generated/csi/v1/NodePublishVolumeRequest.ts'
import type { VolumeCapability__Output } from './generated/csi/v1/VolumeCapability.ts'
import { required } from './validate.ts'

const CAPABILITIES = ['GET_VOLUME_STATS', 'VOLUME_MOUNT_GROUP', 'SINGLE_NODE_MULTI_WRITER'] as const
const ACCESS_MODES: ReadonlySet<string> = new Set<AccessMode>([
  'SINGLE_NODE_WRITER',
  'SINGLE_NODE_READER_ONLY',
  'MULTI_NODE_READER_ONLY',
  'MULTI_NODE_SINGLE_WRITER',
  'MULTI_NODE_MULTI_WRITER',
  'SINGLE_NODE_SINGLE_WRITER',
  'SINGLE_NODE_MULTI_WRITER',
])
/** kubelet sends what the PersistentVolume says; an overlay is what it is. */
const FILE_SYSTEMS = new Set(['', 'overlay'])
const GID_MAX = 2 ** 32 - 2

/** The CSI Node service: what kubelet asks for, in the words of `volumes/`. */
export function nodeMethods(volumes: Volumes, metrics: Metrics): Methods<NodeHandlers> {
  const { driver, ledger } = volumes
  const usage = createUsageCache()
  ledger.onFold = result => metrics.folds.inc({ result })
  const count = (): void => countTargets(volumes, metrics)
  count()
  return {
    async NodePublishVolume(request, { signal }) {
      await publishVolume(volumes, readPublish(request), signal)
      count()
      return {}
    },
    async NodeUnpublishVolume(request, { signal }) {
      const volumeId = required(request, 'volume_id')
      await unpublishVolume(volumes, { volumeId, target: required(request, 'target_path') }, signal)
      count()
      return {}
    },
    async NodeGetVolumeStats(request) {
      const volumeId = required(request, 'volume_id')
      const path = required(request, 'volume_path')
      const { usedBytes, usedInodes, space } = await volumeStats(volumes, usage, { volumeId, path })
      return {
        usage: [
          { unit: 'BYTES', used: usedBytes, available: space.freeBytes, total: space.bytes },
          { unit: 'INODES', used: usedInodes, available: space.freeInodes, total: space.inodes },
        ],
      }
    },
    async NodeGetCapabilities() {
      return { capabilities: CAPABILITIES.map(type => ({ rpc: { type } })) }
    },
    async NodeGetInfo() {
      return { node_id: driver.nodeId, accessible_topology: ownTopology(driver)[0] }
    },
  }
}

/** Counts targets whose pod seems to be gone. Looks at every process, so it is for once a minute. */
export function countOrphans(volumes: Volumes, { orphanedTargets: gauge }: Metrics): void {
  gauge.set(orphanedTargets(volumes).length)
}

function countTargets({ ledger }: Volumes, { published }: Metrics): void {
  let heads = 0
  for (const { name } of ledger.published.values()) if (name === undefined) heads++
  published.set({ kind: 'head' }, heads)
  published.set({ kind: 'tag' }, ledger.published.size - heads)
}

function readPublish(request: NodePublishVolumeRequest__Output): PublishRequest {
  const volumeId = required(request, 'volume_id')
  const target = required(request, 'target_path')
  const { accessMode, mount } = readCapability(request.volume_capability)
  return {
    volumeId,
    target,
    readOnly: request.readonly,
    accessMode,
    mountFlags: mount.mount_flags,
    mountGroup: readGroup(mount.volume_mount_group),
    attributes: request.volume_context,
  }
}

interface MountCapability {
  readonly accessMode: AccessMode
  readonly mount: NonNullable<VolumeCapability__Output['mount']>
}

/** @throws usage for a block volume, another file system, no or an unknown access mode */
function readCapability(capability: VolumeCapability__Output | null): MountCapability {
  if (!capability) throw new StratumError('usage', 'volume_capability is missing')
  if (capability.block) throw new StratumError('usage', 'there are no block volumes: volumeMode is Filesystem')
  if (!capability.mount) throw new StratumError('usage', 'volume_capability names neither mount nor block')
  const mode = capability.access_mode?.mode ?? 'UNKNOWN'
  if (!ACCESS_MODES.has(mode))
    throw new StratumError('usage', `volume_capability has no access mode that is known: ${quote(mode)}`)
  if (!FILE_SYSTEMS.has(capability.mount.fs_type))
    throw new StratumError('usage', `the file system is an overlay, never ${quote(capability.mount.fs_type)}`, {
      hint: 'Leave fsType away',
    })
  return { accessMode: mode as AccessMode, mount: capability.mount }
}

function readGroup(text: string): number | undefined {
  if (text === '') return undefined
  const gid = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (gid <= GID_MAX) return gid
  throw new StratumError('usage', `volume_mount_group is no group's number: ${quote(text)}`)
}
