import { isStratumError } from '../errors/stratum-error.ts'
import { isMissing } from './client/api-error.ts'
import type { ApiServer } from './client/api-server.ts'
import { type KubeObject, keyOf, keyText, listObjects } from './client/objects.ts'
import {
  CLAIMS,
  CSI_NODES,
  DRIVER_NAME,
  isReady,
  MANAGED_BY,
  NODES,
  nodeOfVolume,
  SNAPSHOT_CONTENTS,
  STORAGE_CLASSES,
  VOLUMES,
} from './resources/core.ts'
import { STRATUM_COMMITS, STRATUM_LABELS } from './resources/stratum.ts'

/** One thing that was looked at. */
export interface ClusterFinding {
  readonly what: string
  readonly found: string
  readonly state: 'ok' | 'note' | 'wrong'
  /** What to do about it. */
  readonly advice?: string
}

type Check = (server: ApiServer) => Promise<ClusterFinding>

/** A request that is open for so long will not end by itself. */
const OLD_MS = 60 * 60_000
const SHOWN_MAX = 5

/** Looks at everything that is known to go wrong. What may not be read, or is not there, is a finding too. */
export async function inspectCluster(server: ApiServer): Promise<ClusterFinding[]> {
  const checks: Record<string, Check> = {
    'nodes with the plugin': checkPlugins,
    'storage classes': checkClasses,
    'holders of HEADs': checkHolders,
    'volumes of nodes that are gone': checkVolumes,
    'claims of HEADs': checkClaims,
    snapshots: checkSnapshots,
    'open requests': checkRequests,
  }
  return Promise.all(
    Object.entries(checks).map(async ([what, check]) => {
      try {
        return await check(server)
      } catch (error) {
        if (isMissing(error))
          return { what, found: 'the cluster does not have this kind of object', state: 'note' as const }
        if (!isStratumError(error)) throw error
        return {
          what,
          found: error.message,
          state: error.code === 'permission' ? ('note' as const) : ('wrong' as const),
        }
      }
    }),
  )
}

const checkPlugins: Check = async server => {
  const what = 'nodes with the plugin'
  const ready = (await listObjects(server, NODES)).filter(isReady).map(({ metadata }) => metadata.name)
  const withPlugin = (await listObjects(server, CSI_NODES)).filter(({ spec }) =>
    spec.drivers?.some(({ name }) => name === DRIVER_NAME),
  )
  const names = new Set(withPlugin.map(({ metadata }) => metadata.name))
  const without = ready.filter(name => !names.has(name))
  if (names.size === 0)
    return {
      what,
      found: 'none',
      state: 'wrong',
      advice: 'kubectl get pods -l app.kubernetes.io/part-of=stratum -A shows why',
    }
  if (without.length === 0) return { what, found: `all ${ready.length} that are ready`, state: 'ok' }
  const advice = 'Pods there cannot use volumes. The DaemonSet tolerates every taint unless its values say otherwise'
  return { what, found: `${names.size}, without ${some(without)}`, state: 'note', advice }
}

const checkClasses: Check = async server => {
  const what = 'storage classes'
  const ours = (await listObjects(server, STORAGE_CLASSES)).filter(({ provisioner }) => provisioner === DRIVER_NAME)
  const early = ours.filter(({ volumeBindingMode }) => volumeBindingMode !== 'WaitForFirstConsumer')
  if (ours.length === 0)
    return { what, found: 'none', state: 'note', advice: 'Without one, only static volumes can be used' }
  if (early.length === 0) return { what, found: some(ours.map(nameOf)), state: 'ok' }
  const advice =
    'Their HEADs are on any node, not where their pods can best run: volumeBindingMode WaitForFirstConsumer'
  return { what, found: `${some(early.map(nameOf))} binds at once`, state: 'note', advice }
}

const checkHolders: Check = async server => {
  const what = 'holders of HEADs'
  const nodes = new Map((await listObjects(server, NODES)).map(node => [node.metadata.name, isReady(node)]))
  const held = (await listObjects(server, STRATUM_LABELS)).filter(({ status }) => status?.holder)
  const gone = held.filter(({ status }) => !nodes.has(status?.holder?.nodeName ?? ''))
  const notReady = held.filter(({ status }) => nodes.get(status?.holder?.nodeName ?? '') === false)
  if (gone.length > 0) {
    const first = gone[0].status?.holder?.nodeName
    const advice = `If node ${first} does not come back: kubectl stratum doctor --forget-node ${first}. What was not committed there is lost`
    return { what, found: `${some(gone.map(keyOfLabel))} on nodes that are gone`, state: 'wrong', advice }
  }
  if (notReady.length > 0)
    return { what, found: `${some(notReady.map(keyOfLabel))} on nodes that are not ready`, state: 'note' }
  return { what, found: `${held.length}, all there`, state: 'ok' }
}

const checkVolumes: Check = async server => {
  const what = 'volumes of nodes that are gone'
  const nodes = new Set((await listObjects(server, NODES)).map(nameOf))
  const lost = (await listObjects(server, VOLUMES)).filter(volume => {
    const nodeName = volume.spec.csi?.driver === DRIVER_NAME ? nodeOfVolume(volume) : undefined
    return nodeName !== undefined && !nodes.has(nodeName)
  })
  if (lost.length === 0) return { what, found: 'none', state: 'ok' }
  const advice = `Pods that use them stay Pending. kubectl stratum doctor --forget-node ${nodeOfVolume(lost[0])} clears those that are released`
  return { what, found: some(lost.map(nameOf)), state: 'wrong', advice }
}

/** A HEAD belongs to the namespace that its label begins with: the binder's attempt is refused, and only its log says so. */
const checkClaims: Check = async server => {
  const what = 'claims of HEADs'
  const heads = new Map<string, string>()
  for (const { metadata, spec } of await listObjects(server, VOLUMES)) {
    const { driver, volumeAttributes: { label = '', tag = 'HEAD' } = {} } = spec.csi ?? {}
    if (driver === DRIVER_NAME && label !== '' && !label.includes(':') && tag.toUpperCase() === 'HEAD')
      heads.set(metadata.name, label)
  }
  const wrong = (await listObjects(server, CLAIMS)).filter(({ metadata, spec, status }) => {
    const label = heads.get(spec.volumeName ?? '')
    return label !== undefined && status?.phase !== 'Bound' && !label.startsWith(`${metadata.namespace}/`)
  })
  if (wrong.length === 0) return { what, found: 'none that cannot be bound', state: 'ok' }
  const advice =
    'HEAD is claimed from the namespace that its label begins with; such a claim stays Pending without an Event'
  return { what, found: some(wrong.map(keyOfLabel)), state: 'wrong', advice }
}

const checkSnapshots: Check = async server => {
  const what = 'snapshots'
  const ours = (await listObjects(server, SNAPSHOT_CONTENTS)).filter(({ spec }) => spec.driver === DRIVER_NAME)
  const unmanaged = ours.filter(({ metadata }) => metadata.labels?.[MANAGED_BY] === undefined)
  if (unmanaged.length === 0) return { what, found: `${ours.length}, each with its node`, state: 'ok' }
  const advice =
    'The snapshot-controller needs --enable-distributed-snapshotting and the right to read nodes; contents that were made by hand need the label'
  return { what, found: `${some(unmanaged.map(nameOf))} without a node that makes them`, state: 'wrong', advice }
}

const checkRequests: Check = async server => {
  const what = 'open requests'
  const open = (await listObjects(server, STRATUM_COMMITS)).filter(
    ({ spec, status }) => status?.completionTime === undefined && !spec.suspend,
  )
  const unseen = open.filter(({ metadata }) => Date.now() - Date.parse(metadata.creationTimestamp) > OLD_MS)
  if (unseen.length === 0) return { what, found: String(open.length), state: 'ok' }
  const advice = `kubectl describe scm ${unseen[0].metadata.name} -n ${unseen[0].metadata.namespace} says what it waits for; does the controller run?`
  return { what, found: `${some(unseen.map(keyOfLabel))} for over an hour`, state: 'wrong', advice }
}

const nameOf = ({ metadata }: KubeObject): string => metadata.name
const keyOfLabel = (object: KubeObject): string => keyText(keyOf(object))

function some(names: readonly string[]): string {
  const more = names.length > SHOWN_MAX ? ` and ${names.length - SHOWN_MAX} more` : ''
  return `${names.slice(0, SHOWN_MAX).join(', ')}${more}`
}
