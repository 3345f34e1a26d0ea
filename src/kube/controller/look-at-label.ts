import { patchStatus } from '../client/objects.ts'
import { timestamp, type Verdict, withConditions } from '../resources/conditions.ts'
import { STRATUM_LABELS, type StratumLabel } from '../resources/stratum.ts'
import type { NodeState } from './plan-request.ts'
import type { ControllerContext, World } from './world.ts'

/** Says on a StratumLabel whether the node that holds its HEAD is there. */
export async function lookAtLabel(
  { server, record }: ControllerContext,
  world: World,
  key: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const object = world.labels.get(key)
  const holder = object?.status?.holder?.nodeName
  if (object === undefined) return undefined
  const state = holder === undefined ? undefined : world.nodeState(holder)
  const again = state === 'not-ready' && world.nodes.get(holder ?? '') === undefined ? world.goneAfterMs : undefined
  const verdict = verdictOf(object, state)
  const before = object.status?.conditions?.find(({ type }) => type === 'HolderAvailable')
  // What was always well needs no condition: most labels never have one.
  if (before === undefined && verdict.status !== 'False') return again
  const options = { generation: object.metadata.generation ?? 1, now: timestamp(Date.now()) }
  const conditions = withConditions(object.status?.conditions, { HolderAvailable: verdict }, options)
  if (conditions === undefined) return again
  await patchStatus(server, STRATUM_LABELS, object, { conditions }, { signal })
  const { reason, message, status } = verdict
  record({ resource: STRATUM_LABELS, object }, { type: status === 'False' ? 'Warning' : 'Normal', reason, message })
  return again
}

/** Labels whose HEAD is on a node that is gone or not ready. */
export function countLost(world: World): number {
  return [...world.labels.values()].filter(({ status }) => {
    const holder = status?.holder?.nodeName
    return holder !== undefined && world.nodeState(holder) !== 'ready'
  }).length
}

function verdictOf({ metadata, spec, status }: StratumLabel, state: NodeState | undefined): Verdict {
  const holder = status?.holder?.nodeName
  if (state === undefined) return { status: 'Unknown', reason: 'NoHolder', message: 'nobody has HEAD' }
  if (state === 'ready') return { status: 'True', reason: 'NodeReady', message: `HEAD is on node ${holder}` }
  if (state === 'not-ready')
    return { status: 'False', reason: 'NodeNotReady', message: `HEAD is on node ${holder}, which is not ready` }
  const release = `kubectl stratum release ${spec.label} -n ${metadata.namespace}`
  const message = `HEAD is on node ${holder}, which is gone. If it does not come back, ${release} gives it up`
  return { status: 'False', reason: 'NodeGone', message }
}
