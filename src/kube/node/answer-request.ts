import { toStratumError } from '../../errors/errno.ts'
import { StratumError } from '../../errors/stratum-error.ts'
import { ERROR_TABLE } from '../../errors/table.ts'
import { isCommitId } from '../../names/commit-id.ts'
import type { Label } from '../../names/label.ts'
import { isTag } from '../../names/tag.ts'
import { hasLabel } from '../../refs/tags.ts'
import { removeTags } from '../../repository/set-tags.ts'
import { headTargets } from '../../volumes/ledger.ts'
import type { Volumes } from '../../volumes/volumes.ts'
import { isConflict, isMissing } from '../client/api-error.ts'
import { getObject, keyOf, keyText, type KubeObject, patchStatus } from '../client/objects.ts'
import {
  deadlineOf,
  failed,
  madeFields,
  retrying,
  statusPatch,
  succeeded,
  tagFields,
  taken,
  type Verdicts,
} from '../resources/answer.ts'
import { timestamp } from '../resources/conditions.ts'
import { PODS } from '../resources/core.ts'
import { storeLabel } from '../resources/names.ts'
import { type CommitStatus, STRATUM_COMMITS, type StratumCommit } from '../resources/stratum.ts'
import { carryOut, failureOf, findDone } from './carry-out.ts'
import { isHeld } from './holder-records.ts'
import { requireNamespace } from './namespaces.ts'
import type { NodeContext } from './node-context.ts'
import { planRequest, type Step } from './plan-request.ts'
import { type JournalEntry, listEntries, type Outcome, readEntry, writeEntry } from './request-journal.ts'

/** What the work on one request needs. */
export interface Work {
  readonly context: NodeContext
  readonly volumes: Volumes
  /** Tags of a label moved. */
  readonly onTags: (label: Label) => void
  readonly signal: AbortSignal
}

/** Somebody else wrote the object at the same time: read it again at once, so often. */
const CONFLICTS_MAX = 5

/** Does for a StratumCommit what is to be done now. `seen` is as the watch has it. @throws what is to be tried again */
export async function lookAtRequest(work: Work, key: string, seen: StratumCommit | undefined): Promise<void> {
  if (seen === undefined) return finishOrphan(work, key)
  if (planFor(work, seen) === 'leave') return
  for (let conflicts = 0; ; conflicts++) {
    // What was seen may be old: the API server has the last word before anything is begun.
    const object = await getObject(work.context.server, STRATUM_COMMITS, keyOf(seen), { signal: work.signal })
    if (object === undefined || object.metadata.uid !== seen.metadata.uid) return finishOrphan(work, key)
    try {
      return await followPlan(work, object)
    } catch (error) {
      if (!isConflict(error) || conflicts >= CONFLICTS_MAX) throw error
    }
  }
}

function planFor({ context }: Work, object: StratumCommit): Step {
  const { store, nodeName } = context
  const label = requestLabel(object)
  if (label === undefined) return 'leave' // the controller says why
  return planRequest(object, {
    nodeName,
    isHolder: isHeld(store, label),
    entry: readEntry(store, object.metadata.uid),
  })
}

async function followPlan(work: Work, object: StratumCommit): Promise<void> {
  const entry = readEntry(work.context.store, object.metadata.uid)
  const step = planFor(work, object)
  if (step === 'answer') await answer(work, object, entry?.outcome)
  else if (step === 'untag') await untag(work, object, entry)
  else if (step === 'take') await carry(work, await take(work, object), entry)
  else if (step === 'do') await carry(work, object, entry)
}

/** The store's label that a request is about. */
export function requestLabel({ metadata, spec }: StratumCommit): Label | undefined {
  return storeLabel(metadata.namespace ?? '', spec.label)
}

/** Our name on the request, by compare-and-swap: from here on nobody else ends it. @throws conflict */
async function take({ context, signal }: Work, object: StratumCommit): Promise<StratumCommit> {
  const { server, nodeName } = context
  const startTime = object.status?.startTime ?? timestamp(Date.now())
  const status = statusPatch(object, taken(nodeName), { nodeName, startTime })
  return status === undefined ? object : patchStatus(server, STRATUM_COMMITS, object, status, { signal })
}

async function carry(work: Work, object: StratumCommit, known: JournalEntry | undefined): Promise<void> {
  const { context, volumes, signal } = work
  const { metadata, spec } = object
  const { uid, name, namespace = '' } = metadata
  const label = requestLabel(object)
  if (label === undefined) return
  const entry = known ?? { uid, namespace, name, label, spec, begun: new Date().toISOString() }
  const leftMs = deadlineOf(object) - Date.now()
  try {
    if (known === undefined) {
      if (namespace !== context.home) await requireNamespace(context, namespace, signal)
      if (leftMs <= 0) throw new StratumError('timeout', 'the deadline passed before anything was begun')
      writeEntry(context.store, entry)
    }
    const limit = AbortSignal.timeout(Math.max(1, leftMs))
    const outcome = await carryOut(volumes, entry, {
      signal: AbortSignal.any([signal, limit]),
      deadlineMs: Math.max(1, leftMs),
    })
    await end(work, object, entry, outcome)
  } catch (error) {
    signal.throwIfAborted()
    if (isConflict(error) || isMissing(error)) throw error
    return troubled(work, object, entry, toStratumError(error, `the request of ${label}`))
  }
}

/** It did not work. Where trying again is no use, or the time is up, that is the end of it. */
async function troubled(work: Work, object: StratumCommit, entry: JournalEntry, error: StratumError): Promise<void> {
  const { context, signal } = work
  const isLate = Date.now() >= deadlineOf(object)
  if (isLate || error.code === 'permission') {
    if (findDone(context.store, entry) !== undefined) throw error // it is done, and only has to be told
    const late = `the deadline of ${entry.spec.deadlineSeconds} s passed: ${error.message}`
    const why = isLate ? new StratumError('timeout', late) : error
    return end(work, object, entry, failureOf(context.store, entry, why))
  }
  const status = statusPatch(object, retrying(ERROR_TABLE[error.code].reason, error.message))
  if (status !== undefined)
    await patchStatus(context.server, STRATUM_COMMITS, object, status, { signal }).catch(() => undefined)
  throw error
}

async function end(work: Work, object: StratumCommit, entry: JournalEntry, outcome: Outcome): Promise<void> {
  writeEntry(work.context.store, { ...entry, outcome })
  work.onTags(entry.label)
  return answer(work, object, outcome)
}

/** Says in the status how it ended. */
async function answer(
  { context, volumes, signal }: Work,
  object: StratumCommit,
  outcome: Outcome | undefined,
): Promise<void> {
  if (outcome === undefined) return
  const { server, nodeName, metrics, record } = context
  const [verdicts, fields] = wordsOf(object, outcome, nodeName)
  const status = statusPatch(object, verdicts, fields)
  if (status === undefined) return
  await patchStatus(server, STRATUM_COMMITS, object, status, { signal })
  const seconds = (Date.now() - Date.parse(object.metadata.creationTimestamp)) / 1000
  metrics?.requestSeconds.observe({ result: outcome.ok ? 'ok' : outcome.reason }, seconds)
  const { reason, message } =
    verdicts.Committed?.status === 'True' ? verdicts.Committed : (verdicts.Ready ?? { reason: 'Ended', message: '' })
  const happening = { type: outcome.ok ? 'Normal' : 'Warning', reason, message } as const
  record({ resource: STRATUM_COMMITS, object }, happening)
  const about = `StratumCommit ${object.metadata.name}: ${message}`
  for (const pod of podsOf(volumes, object)) record({ resource: PODS, object: pod }, { ...happening, message: about })
}

function wordsOf({ spec, status }: StratumCommit, outcome: Outcome, nodeName: string): [Verdicts, CommitStatus] {
  const common = {
    nodeName,
    completionTime: timestamp(Math.max(Date.parse(outcome.ended), 0)),
    startTime: status?.startTime ?? timestamp(Date.now()),
  }
  const accepted = taken(nodeName).Accepted
  if (outcome.ok) {
    const verdicts = succeeded(outcome, spec.source.head !== undefined)
    return [
      { ...(accepted === undefined ? {} : { Accepted: accepted }), ...verdicts },
      { ...common, ...madeFields(outcome) },
    ]
  }
  const { reason, message, conflicts } = outcome
  const tags = conflicts.map(name => ({ name, state: 'Conflict' as const }))
  const verdicts = failed(reason, message, conflicts.length > 0 ? false : undefined)
  return [
    { ...(accepted === undefined ? {} : { Accepted: accepted }), ...verdicts },
    { ...common, ...(tags.length === 0 ? {} : tagFields(tags)) },
  ]
}

/** Whose HEAD it is: they are told, too. */
function podsOf({ ledger }: Volumes, object: StratumCommit): KubeObject[] {
  const label = requestLabel(object)
  const targets = label === undefined || object.spec.source.head === undefined ? [] : headTargets(ledger, label)
  const pods = new Map(targets.flatMap(({ pod }) => (pod === undefined ? [] : [[pod.uid, pod]])))
  return [...pods.values()].map(pod => ({ metadata: { ...pod, resourceVersion: '', creationTimestamp: '' } }))
}

/** Takes along the tags that the request made, as long as they name its commit. */
async function untag(
  { context, onTags, signal }: Work,
  object: StratumCommit,
  entry: JournalEntry | undefined,
): Promise<void> {
  const { server, store } = context
  const tags = object.status?.tags ?? []
  const made = tags.filter(({ state }) => state === 'Created').map(({ name }) => name)
  const commit = object.status?.commitId
  if (entry === undefined || made.length === 0 || commit === undefined || !isCommitId(commit)) return
  if (hasLabel(store, entry.label)) {
    const actor = `stratumcommit/${entry.namespace}/${entry.name}`
    await removeTags({ store, actor, signal }, entry.label, { tags: made.filter(isTag), commit })
    onTags(entry.label)
  }
  const now = tags.map(tag => (tag.state === 'Created' ? { ...tag, state: 'Removed' as const } : tag))
  await patchStatus(server, STRATUM_COMMITS, object, { tags: now }, { signal })
}

/** The object is gone, the journal may say that its request was begun: it is finished, as nobody can tell how far it came otherwise. */
async function finishOrphan({ context, volumes, signal }: Work, key: string): Promise<void> {
  const { store } = context
  for (const entry of listEntries(store)) {
    if (entry.outcome !== undefined || keyText(entry) !== key) continue
    const object = await getObject(context.server, STRATUM_COMMITS, entry, { signal })
    if (object?.metadata.uid === entry.uid) return // it is there, the watch will tell
    const done = findDone(store, entry)
    if (done !== undefined) await carryOut(volumes, entry, { signal, deadlineMs: 1 })
    const why = new StratumError('interrupted', 'the StratumCommit was deleted')
    writeEntry(store, { ...entry, outcome: failureOf(store, entry, why) })
  }
}
