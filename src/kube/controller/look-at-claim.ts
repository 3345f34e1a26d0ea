import { isStratumError } from '../../errors/stratum-error.ts'
import { isHead } from '../../names/tag.ts'
import { getObject, keyOf, patchObject } from '../client/objects.ts'
import {
  type Claim,
  CLAIMS,
  type DataSource,
  DRIVER_NAME,
  MANAGED_BY,
  nodeOfVolume,
  SNAPSHOT_CONTENTS,
  SNAPSHOTS,
  STORAGE_CLASSES,
  VOLUMES,
} from '../resources/core.ts'
import { labelName, storeLabel } from '../resources/names.ts'
import { STRATUM_LABELS } from '../resources/stratum.ts'
import { FROM, mayNeedNode, SELECTED_NODE } from './projections.ts'
import type { ControllerContext, World } from './world.ts'

/** A source that is not ready yet is asked for again. */
const AGAIN_MS = 5_000

/**
 * Sends a claim that begins as a clone, a restored snapshot or a tag to the node where that is: nothing else in Kubernetes does. The pod follows the
 * volume.
 */
export async function lookAtClaim(
  context: ControllerContext,
  world: World,
  key: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { server, log } = context
  const claim = world.claims.get(key)
  if (claim === undefined || !mayNeedNode(claim) || !(await isOurs(context, claim, signal))) return undefined
  const nodeName = await findNode(context, world, claim, signal)
  if (nodeName === undefined) return AGAIN_MS
  const { resourceVersion } = claim.metadata
  const patch = { metadata: { resourceVersion, annotations: { [SELECTED_NODE]: nodeName } } }
  try {
    await patchObject(server, CLAIMS, keyOf(claim), patch, { signal })
    log.info({ claim: key, node: nodeName }, 'node selected')
  } catch (error) {
    if (isStratumError(error, 'not-found')) return undefined
    throw error
  }
  return undefined
}

async function isOurs({ server }: ControllerContext, { spec }: Claim, signal: AbortSignal): Promise<boolean> {
  const { storageClassName: name } = spec
  if (!name) return false
  const storageClass = await getObject(server, STORAGE_CLASSES, { name }, { signal })
  return storageClass?.provisioner === DRIVER_NAME
}

async function findNode(
  context: ControllerContext,
  world: World,
  { metadata, spec }: Claim,
  signal: AbortSignal,
): Promise<string | undefined> {
  const namespace = metadata.namespace ?? ''
  const source = spec.dataSource ?? spec.dataSourceRef
  const nodeName =
    source === undefined
      ? await nodeOfTag(context, namespace, metadata.annotations?.[FROM] ?? '', signal)
      : await nodeOfSource(context, namespace, source, signal)
  return nodeName !== undefined && world.nodes.get(nodeName) !== undefined ? nodeName : undefined
}

async function nodeOfSource(
  { server }: ControllerContext,
  namespace: string,
  { kind, name }: DataSource,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (kind === 'PersistentVolumeClaim') {
    const source = await getObject(server, CLAIMS, { namespace, name }, { signal })
    const volumeName = source?.spec.volumeName
    if (!volumeName) return undefined
    const volume = await getObject(server, VOLUMES, { name: volumeName }, { signal })
    return volume?.spec.csi?.driver === DRIVER_NAME ? nodeOfVolume(volume) : undefined
  }
  if (kind !== 'VolumeSnapshot') return undefined
  const snapshot = await getObject(server, SNAPSHOTS, { namespace, name }, { signal })
  const contentName = snapshot?.status?.boundVolumeSnapshotContentName
  if (!contentName) return undefined
  const content = await getObject(server, SNAPSHOT_CONTENTS, { name: contentName }, { signal })
  return content?.spec.driver === DRIVER_NAME ? content.metadata.labels?.[MANAGED_BY] : undefined
}

/** `label:tag`: the holder's node if the tag is there, else a node that has commits of the label. */
async function nodeOfTag(
  { server, home }: ControllerContext,
  namespace: string,
  reference: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [text, tag = ''] = reference.split(':')
  const label = storeLabel(namespace, text)
  const name = label === undefined ? undefined : labelName(label, home)
  if (name === undefined || isHead(tag)) return undefined
  const status = (await getObject(server, STRATUM_LABELS, name, { signal }))?.status
  const nodes = (status?.nodes ?? []).filter(({ tagCount = 0 }) => tagCount > 0).map(({ nodeName }) => nodeName)
  const holder = status?.holder?.nodeName
  const hasTag = status?.tags?.some(each => each.name === tag) ?? false
  if (holder !== undefined && (hasTag || nodes.length <= 1) && nodes.includes(holder)) return holder
  return nodes.find(nodeName => nodeName !== holder) ?? holder
}
