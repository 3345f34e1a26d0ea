import { deadlineOf, failed, type Verdicts, waiting } from '../resources/answer.ts'
import { findCondition, isTrue, timestamp } from '../resources/conditions.ts'
import { storeLabel } from '../resources/names.ts'
import { FINALIZER, type StratumCommit, type StratumLabel, type Tombstone } from '../resources/stratum.ts'

/** What the controller knows when it looks at a StratumCommit. */
export interface Facts {
  readonly label: StratumLabel | undefined
  nodeState(name: string): NodeState
  /** A node that is missing now counts as gone after so many milliseconds. */
  readonly goneAfterMs: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** `gone`: there is no such Node, and that for a while. */
export type NodeState = 'ready' | 'not-ready' | 'gone'

/** What the controller does about it, in this order. */
export interface RequestPlan {
  readonly finalizer?: 'add' | 'remove'
  readonly status?: { readonly verdicts: Verdicts; readonly fields: Readonly<Record<string, unknown>> }
  /** To be put on the StratumLabel before the finalizer goes. */
  readonly tombstone?: Tombstone
  readonly isExpired?: boolean
  /** Milliseconds after which it is to be looked at again, whatever happens. */
  readonly againMs?: number
}

/** A node that is there and does not take away the tags of a deleted request in this time gets a tombstone. */
export const UNTAG_MS = 30_000
/** The holder's node writes the first conditions itself; only if it does not, the controller says that it waits for it. */
export const FIRST_VISIT_MS = 2_000

export function planRequest(object: StratumCommit, facts: Facts): RequestPlan {
  const { metadata, status } = object
  if (metadata.deletionTimestamp !== undefined) return planDeletion(object, facts)
  const plan = status?.completionTime === undefined ? planOpen(object, facts) : planOver(object, facts.now)
  const isNew = !metadata.finalizers?.includes(FINALIZER)
  return isNew ? { finalizer: 'add', ...plan } : plan
}

function planOver({ spec, status }: StratumCommit, now: number): RequestPlan {
  const ttl = spec.ttlSecondsAfterFinished
  if (ttl === undefined || ttl === null || status?.completionTime === undefined) return {}
  const leftMs = Date.parse(status.completionTime) + ttl * 1000 - now
  return leftMs <= 0 ? { isExpired: true } : { againMs: leftMs }
}

function planOpen(object: StratumCommit, facts: Facts): RequestPlan {
  const { metadata, spec, status } = object
  const { now } = facts
  if (isTrue(status?.conditions, 'Accepted')) return planTaken(object, facts)
  if (storeLabel(metadata.namespace ?? '', spec.label) === undefined)
    return end('InvalidSpec', `${spec.label} is no label of namespace ${metadata.namespace}`, now)
  if (spec.suspend) {
    const verdicts = waiting('Suspended', 'spec.suspend is true: nothing is begun')
    return { status: { verdicts, fields: { startTime: null } } }
  }
  const leftMs = (status?.startTime === undefined ? now + spec.deadlineSeconds * 1000 : deadlineOf(object)) - now
  if (leftMs <= 0) {
    const why = findCondition(status?.conditions, 'Accepted')?.message ?? 'no node took the request'
    return end('DeadlineExceeded', `the deadline of ${spec.deadlineSeconds} s passed: ${why}`, now)
  }
  const { reason, message, nodeName } = whoIsToDoIt(object, facts)
  const ageMs = now - Date.parse(metadata.creationTimestamp)
  if (reason === 'Pending' && nodeName === undefined && status?.conditions === undefined && ageMs < FIRST_VISIT_MS)
    return { againMs: FIRST_VISIT_MS - ageMs }
  const fields = {
    ...(status?.startTime === undefined ? { startTime: timestamp(now) } : {}),
    nodeName: nodeName ?? null,
  }
  const againMs = reason === 'NodeNotReady' ? Math.min(leftMs, facts.goneAfterMs) : leftMs
  return { status: { verdicts: waiting(reason, message), fields }, againMs }
}

function end(reason: string, message: string, now: number): RequestPlan {
  return {
    status: { verdicts: failed(reason, message, undefined), fields: { completionTime: timestamp(now) } },
  }
}

/** A node has it: only that node ends it, unless it is gone for ever. */
function planTaken(object: StratumCommit, { nodeState, goneAfterMs, now }: Facts): RequestPlan {
  const nodeName = object.status?.nodeName ?? ''
  const state = nodeState(nodeName)
  if (state === 'gone') return end('NodeGone', `node ${nodeName} had begun and is gone; what it made went with it`, now)
  if (state === 'ready') return {}
  const message = `node ${nodeName} has begun and is not ready; only it can say what came of it`
  return {
    status: { verdicts: { Ready: { status: 'Unknown', reason: 'NodeNotReady', message } }, fields: {} },
    againMs: goneAfterMs,
  }
}

interface Doer {
  readonly reason: string
  readonly message: string
  /** Set where the controller names the node. */
  readonly nodeName?: string
}

/** The holder's node. For requests that only make tags, any node that has commits of the label will do. */
function whoIsToDoIt({ metadata, spec }: StratumCommit, { label, nodeState }: Facts): Doer {
  if (label === undefined) {
    const message = `no node has a label ${spec.label} of namespace ${metadata.namespace}`
    return {
      reason: 'UnknownLabel',
      message: `${message}; a PersistentVolumeClaim's label is its name, or its annotation stratum.dev/label`,
    }
  }
  const holder = label.status?.holder?.nodeName
  const state = holder === undefined ? undefined : nodeState(holder)
  if (state === 'ready') return { reason: 'Pending', message: `waiting for node ${holder}` }
  if (spec.source.head === undefined) {
    const nodes = (label.status?.nodes ?? []).filter(({ tagCount = 0 }) => tagCount > 0)
    const ready = nodes.filter(node => nodeState(node.nodeName) === 'ready')
    const most = ready.reduce((best, node) => ((node.tagCount ?? 0) > (best?.tagCount ?? -1) ? node : best), ready[0])
    if (most !== undefined)
      return { reason: 'Pending', message: `waiting for node ${most.nodeName}`, nodeName: most.nodeName }
    const names = nodes.map(({ nodeName }) => nodeName).join(', ')
    return {
      reason: 'NoNode',
      message: `no node that is ready has commits of ${spec.label}${names === '' ? '' : ` (${names} had)`}`,
    }
  }
  if (holder === undefined)
    return { reason: 'NoHolder', message: `nobody has HEAD of ${spec.label}: it is there once a pod uses it, writable` }
  if (state === 'not-ready')
    return { reason: 'NodeNotReady', message: `HEAD of ${spec.label} is on node ${holder}, which is not ready` }
  const release = `kubectl stratum release ${spec.label} -n ${metadata.namespace}`
  return {
    reason: 'NodeGone',
    message: `HEAD of ${spec.label} is on node ${holder}, which is gone; ${release} gives it up`,
  }
}

function planDeletion(object: StratumCommit, facts: Facts): RequestPlan {
  const { metadata, spec, status } = object
  if (!metadata.finalizers?.includes(FINALIZER)) return {}
  const nodeName = status?.nodeName
  const made = (status?.tags ?? []).filter(({ state }) => state === 'Created').map(({ name }) => name)
  const isUnderWay = status?.completionTime === undefined && isTrue(status?.conditions, 'Accepted')
  if (spec.deletionPolicy === 'Retain' || nodeName === undefined || (made.length === 0 && !isUnderWay))
    return { finalizer: 'remove' }
  const sinceMs = facts.now - Date.parse(metadata.deletionTimestamp ?? '')
  const limitMs = isUnderWay
    ? Math.max(UNTAG_MS, deadlineOf(object) - Date.parse(metadata.deletionTimestamp ?? '') + UNTAG_MS)
    : UNTAG_MS
  if (facts.nodeState(nodeName) !== 'gone' && sinceMs < limitMs) return { againMs: limitMs - sinceMs }
  if (facts.label === undefined) return { finalizer: 'remove' }
  const tombstone: Tombstone = {
    uid: metadata.uid,
    nodeName,
    tags: made.length > 0 ? made : (spec.tags ?? []).map(({ name }) => name),
    time: timestamp(facts.now),
    ...(status?.commitId === undefined ? {} : { commitId: status.commitId }),
  }
  return { finalizer: 'remove', tombstone }
}
