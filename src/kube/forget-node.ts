import { StratumError } from '../errors/stratum-error.ts'
import { isMissing } from './client/api-error.ts'
import type { ApiServer } from './client/api-server.ts'
import {
  deleteObject,
  getObject,
  keyOf,
  keyText,
  type KubeObject,
  listObjects,
  patchObject,
  patchStatus,
  type Resource,
} from './client/objects.ts'
import { DRIVER_NAME, MANAGED_BY, NODES, nodeOfVolume, SNAPSHOT_CONTENTS, VOLUMES } from './resources/core.ts'
import { STRATUM_LABELS } from './resources/stratum.ts'

/**
 * Clears what is left of a node that is gone for ever and that only it could clear: HEADs that it held, its entries in StratumLabels, volumes that are
 * released, snapshots that are being deleted. Returns what was cleared. @throws in-use while the node is there
 */
export async function forgetNode(server: ApiServer, nodeName: string): Promise<string[]> {
  if ((await getObject(server, NODES, { name: nodeName })) !== undefined)
    throw new StratumError('in-use', `node ${nodeName} is there`, {
      hint: `kubectl delete node ${nodeName} says that it is gone for ever`,
    })
  return [
    ...(await forgetLabels(server, nodeName)),
    ...(await forgetVolumes(server, nodeName)),
    ...(await forgetSnapshots(server, nodeName)),
  ]
}

async function forgetLabels(server: ApiServer, nodeName: string): Promise<string[]> {
  const cleared: string[] = []
  for (const object of await listObjects(server, STRATUM_LABELS)) {
    const { holder, nodes = [], tombstones = [] } = object.status ?? {}
    const others = <T extends { nodeName: string }>(list: readonly T[]): T[] =>
      list.filter(each => each.nodeName !== nodeName)
    const isHolder = holder?.nodeName === nodeName
    if (!isHolder && others(nodes).length === nodes.length && others(tombstones).length === tombstones.length) continue
    const status = { nodes: others(nodes), tombstones: others(tombstones), ...(isHolder ? { holder: null } : {}) }
    await patchStatus(server, STRATUM_LABELS, object, status)
    cleared.push(`StratumLabel ${keyText(keyOf(object))}${isHolder ? ' (HEAD)' : ''}`)
  }
  return cleared
}

async function forgetVolumes(server: ApiServer, nodeName: string): Promise<string[]> {
  const left = (await listObjects(server, VOLUMES)).filter(
    volume =>
      volume.spec.csi?.driver === DRIVER_NAME &&
      nodeOfVolume(volume) === nodeName &&
      (volume.metadata.deletionTimestamp !== undefined || ['Released', 'Failed'].includes(volume.status?.phase ?? '')),
  )
  for (const volume of left) await removeForGood(server, VOLUMES, volume)
  return left.map(({ metadata }) => `PersistentVolume ${metadata.name}`)
}

async function forgetSnapshots(server: ApiServer, nodeName: string): Promise<string[]> {
  const contents = await listObjects(server, SNAPSHOT_CONTENTS).catch(error => {
    if (isMissing(error)) return [] // the cluster has no VolumeSnapshots
    throw error
  })
  const left = contents.filter(
    ({ metadata, spec }) =>
      spec.driver === DRIVER_NAME &&
      metadata.labels?.[MANAGED_BY] === nodeName &&
      metadata.deletionTimestamp !== undefined,
  )
  for (const content of left) await removeForGood(server, SNAPSHOT_CONTENTS, content)
  return left.map(({ metadata }) => `VolumeSnapshotContent ${metadata.name}`)
}

/** Its finalizers wait for the node. */
async function removeForGood<T extends KubeObject>(server: ApiServer, resource: Resource<T>, object: T): Promise<void> {
  try {
    const changed = await patchObject(server, resource, keyOf(object), { metadata: { finalizers: null } })
    await deleteObject(server, resource, changed)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
