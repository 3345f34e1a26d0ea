import { isMissing } from '../client/api-error.ts'
import { deleteObject, keyOf, patchObject, patchStatus } from '../client/objects.ts'
import { statusPatch } from '../resources/answer.ts'
import { timestamp } from '../resources/conditions.ts'
import {
  FINALIZER,
  STRATUM_COMMITS,
  STRATUM_LABELS,
  type StratumCommit,
  type StratumLabel,
  type Tombstone,
} from '../resources/stratum.ts'
import { planRequest } from './plan-request.ts'
import { type ControllerContext, labelKey, type World } from './world.ts'

/** Does for one StratumCommit what is the controller's to do. Returns when to look again. */
export async function lookAtRequest(
  context: ControllerContext,
  world: World,
  key: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const seen = world.requests.get(key)
  if (seen === undefined) return undefined
  try {
    return await carryOut(context, world, seen, signal)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function carryOut(
  context: ControllerContext,
  world: World,
  seen: StratumCommit,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { server, home } = context
  const label = world.labels.get(labelKey(seen, home) ?? '')
  const plan = planRequest(seen, {
    label,
    nodeState: world.nodeState,
    goneAfterMs: world.goneAfterMs,
    now: Date.now(),
  })
  let object = seen
  if (plan.tombstone !== undefined && label !== undefined) await bury(context, label, plan.tombstone, signal)
  if (plan.finalizer !== undefined) {
    const others = (object.metadata.finalizers ?? []).filter(name => name !== FINALIZER)
    const finalizers = plan.finalizer === 'add' ? [...others, FINALIZER] : others
    const metadata = { resourceVersion: object.metadata.resourceVersion, finalizers }
    object = await patchObject(server, STRATUM_COMMITS, keyOf(object), { metadata }, { signal })
  }
  if (plan.status !== undefined) await writeStatus(context, object, plan.status, signal)
  if (plan.isExpired) await deleteObject(server, STRATUM_COMMITS, object, { signal })
  return plan.againMs
}

async function writeStatus(
  { server, record, metrics }: ControllerContext,
  object: StratumCommit,
  { verdicts, fields }: NonNullable<ReturnType<typeof planRequest>['status']>,
  signal: AbortSignal,
): Promise<void> {
  const status = statusPatch(object, verdicts, fields)
  if (status === undefined) return
  const before = object.status?.conditions?.find(({ type }) => type === 'Ready')?.reason
  await patchStatus(server, STRATUM_COMMITS, object, status, { signal })
  const { Ready, Stalled } = verdicts
  if (Stalled?.status === 'True') {
    const seconds = (Date.now() - Date.parse(object.metadata.creationTimestamp)) / 1000
    metrics.requestSeconds.observe({ result: Stalled.reason }, seconds)
  }
  if (Ready === undefined || Ready.reason === before || Ready.reason === 'Pending') return
  const type = Ready.reason === 'Suspended' ? 'Normal' : 'Warning'
  record({ resource: STRATUM_COMMITS, object }, { type, reason: Ready.reason, message: Ready.message })
}

/** The newest are kept where there are too many. */
const TOMBSTONES_MAX = 100

/** What a node that does not answer is to do when it comes back. */
async function bury(
  { server, log }: ControllerContext,
  label: StratumLabel,
  tombstone: Tombstone,
  signal: AbortSignal,
): Promise<void> {
  const there = (label.status?.tombstones ?? []).filter(({ uid }) => uid !== tombstone.uid)
  const tombstones = [...there, { ...tombstone, time: tombstone.time ?? timestamp(Date.now()) }].slice(-TOMBSTONES_MAX)
  await patchStatus(server, STRATUM_LABELS, label, { tombstones }, { signal })
  log.info({ label: keyOf(label), node: tombstone.nodeName, tags: tombstone.tags }, 'tombstone')
}
