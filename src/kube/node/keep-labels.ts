import { isStratumError } from '../../errors/stratum-error.ts'
import { statIfExists } from '../../host/stat.ts'
import { headMounts } from '../../heads/head-mounts.ts'
import type { CommitId } from '../../names/commit-id.ts'
import type { Label } from '../../names/label.ts'
import { isTag, type Tag } from '../../names/tag.ts'
import { hasLabel, listLabels } from '../../refs/tags.ts'
import { removeTags } from '../../repository/set-tags.ts'
import { paths, type Store } from '../../store/layout.ts'
import { getObject, listPages, type MergePatch, patchStatus } from '../client/objects.ts'
import { type Mirror, mirrorResource, type MirrorTiming } from '../client/mirror.ts'
import { createQueue, type WorkQueue } from '../client/queue.ts'
import { labelName, storeLabel } from '../resources/names.ts'
import { STRATUM_LABELS, type StratumLabel, type Tombstone } from '../resources/stratum.ts'
import { type DescribedLabel, describeLabel } from './describe-label.ts'
import { forgetHolder, isHeld, listHolders, readHolder } from './holder-records.ts'
import { claim, ensureObject, giveBack } from './holders.ts'
import type { NodeContext } from './node-context.ts'
import { requireNamespace } from './namespaces.ts'
import { readEntry } from './request-journal.ts'

/** Keeps the StratumLabels of what this store has as the store is. */
export interface LabelKeeper extends AsyncDisposable {
  /** Looks at a label soon: something of it may have changed. */
  look(label: Label): void
}

/** How often the store is asked whether a tag or HEAD moved that nobody told of: a snapshot, the command line. */
const POLL_MS = 10_000
/** How often all StratumLabels are read: what other labels' objects say of this node. */
const SURVEY_MS = 60 * 60_000
const BACKOFF_MS = [1_000, 300_000] as const

/** @param onHeld this store became the holder of a label */
export function keepLabels(
  context: NodeContext,
  onHeld: (label: Label) => void,
  timing?: Partial<MirrorTiming>,
): LabelKeeper {
  const { store, log, metrics, home } = context
  const queue: WorkQueue = createQueue((label, signal) => sync({ ...context, onHeld }, label as Label, signal), {
    name: 'labels',
    workers: 2,
    backoffMs: BACKOFF_MS,
    log,
    metrics,
  })
  const poll = setInterval(() => addChanged(), POLL_MS)
  const seen = new Map<Label, string>()
  const addChanged = (): void => {
    const labels = new Set(listLabels(store).filter(label => labelName(label, home) !== undefined))
    for (const label of [...labels, ...seen.keys()]) {
      const state = labels.has(label) ? fingerprint(context, label) : 'gone'
      if (seen.get(label) === state) continue
      if (state === 'gone') seen.delete(label)
      else seen.set(label, state)
      queue.add(label)
    }
  }
  const surveys = createQueue(async (_, signal) => survey(context, queue, signal), {
    name: 'survey',
    workers: 1,
    backoffMs: BACKOFF_MS,
    log,
  })
  const mirror = watchHeld(context, label => queue.add(label), timing)
  for (const { label } of listHolders(store)) queue.add(label)
  addChanged()
  surveys.add('all')
  return {
    look: label => queue.add(label),
    async [Symbol.asyncDispose]() {
      clearInterval(poll)
      await mirror[Symbol.asyncDispose]()
      await surveys[Symbol.asyncDispose]()
      await queue[Symbol.asyncDispose]()
    },
  }
}

/** Notices when a label that this node holds is deleted, released or given a tombstone. */
function watchHeld(
  { server, nodeName, home, log, metrics }: NodeContext,
  look: (label: Label) => void,
  timing: Partial<MirrorTiming> | undefined,
): Mirror<StratumLabel> {
  return mirrorResource(server, STRATUM_LABELS, {
    fieldSelector: `status.holder.nodeName=${nodeName}`,
    project: ({ metadata, spec, status }) => ({
      metadata: {
        name: metadata.name,
        namespace: metadata.namespace ?? home,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
        creationTimestamp: metadata.creationTimestamp,
      },
      spec,
      status: { tombstones: status?.tombstones ?? [] },
    }),
    onChange(_, now, before) {
      const { metadata, spec } = now ?? before ?? {}
      const label = spec === undefined ? undefined : storeLabel(metadata?.namespace ?? home, spec.label)
      const isNews = now === undefined || (now.status?.tombstones ?? []).some(entry => entry.nodeName === nodeName)
      if (label !== undefined && isNews) look(label)
    },
    log,
    metrics,
    ...(timing === undefined ? {} : { timing }),
  })
}

/** Changes when a tag, HEAD or the holder does. */
function fingerprint({ store }: NodeContext, label: Label): string {
  const files = [paths.tags(store, label), paths.headFile(store, label), paths.log(store, label)]
  return files.map(file => String(statIfExists(file)?.ctime ?? '-')).join(' ')
}

/** Looks once at every StratumLabel for what it says of this node: an entry of a label that is gone here, a tombstone, a holder. */
async function survey(
  { server, store, nodeName, home }: NodeContext,
  queue: WorkQueue,
  signal: AbortSignal,
): Promise<number> {
  for await (const { items } of listPages(server, STRATUM_LABELS, { signal })) {
    for (const { metadata, spec, status } of items) {
      const label = storeLabel(metadata.namespace ?? home, spec.label)
      const isOurs =
        status?.holder?.nodeName === nodeName ||
        [...(status?.nodes ?? []), ...(status?.tombstones ?? [])].some(entry => entry.nodeName === nodeName)
      if (label !== undefined && (isOurs || hasLabel(store, label))) queue.add(label)
    }
  }
  return SURVEY_MS * (0.9 + Math.random() * 0.2)
}

interface KeeperContext extends NodeContext {
  readonly onHeld: (label: Label) => void
}

/** Brings one StratumLabel in line with the store. */
async function sync(context: KeeperContext, label: Label, signal: AbortSignal): Promise<number | undefined> {
  const { server, store, nodeName, home } = context
  const name = labelName(label, home)
  if (name === undefined) return undefined
  if (readHolder(store, label)?.state === 'released') await giveBack(context, label)
  let local = describeLabel(store, label, nodeName)
  let object = await getObject(server, STRATUM_LABELS, name, { signal })
  if (object === undefined && local === undefined) return undefined
  try {
    if (name.namespace !== home) await requireNamespace(context, name.namespace, signal)
    object ??= await assert(context, label, local, signal)
  } catch (error) {
    // The namespace is gone or another one: nothing to do until somebody changes something.
    if (isStratumError(error, 'not-found') || isStratumError(error, 'permission')) return undefined
    throw error
  }
  object = await noticeRelease(context, label, object, signal)
  if (await bury(context, label, object, signal)) local = describeLabel(store, label, nodeName)
  const status = statusOf(context, object, local)
  if (status !== undefined) await patchStatus(server, STRATUM_LABELS, object, status, { signal })
  return undefined
}

/** The object was deleted, or is new: this store says again what it has, and that HEAD is its own if it is. */
async function assert(
  context: KeeperContext,
  label: Label,
  local: DescribedLabel | undefined,
  signal: AbortSignal,
): Promise<StratumLabel> {
  const { server, home } = context
  const name = labelName(label, home)
  if (name === undefined) throw new Error('unreachable')
  if (local?.hasHead && (await claim(context, label, name, signal).catch(ignoreOther))) context.onHeld(label)
  return (await getObject(server, STRATUM_LABELS, name, { signal })) ?? (await ensureObject(context, name, signal))
}

/** Another node was faster: its HEAD is the label's now, and `status.nodes` tells of this one. */
function ignoreOther(error: unknown): false {
  if (isStratumError(error, 'other-holder')) return false
  throw error
}

/**
 * An admin took HEAD away from this node (`kubectl stratum release`): it is not used here again without asking. Where it is in use right now, it is taken
 * again, unless another node was faster. Returns the object as it is then.
 */
async function noticeRelease(
  context: KeeperContext,
  label: Label,
  object: StratumLabel,
  signal: AbortSignal,
): Promise<StratumLabel> {
  const { server, store, home, log } = context
  const name = labelName(label, home)
  if (name === undefined || !isHeld(store, label) || object.status?.holder?.storeId === store.id) return object
  // It may have been taken since the object was read. What is held was so on the API server first: that has the last word now.
  const now = (await getObject(server, STRATUM_LABELS, name, { signal })) ?? object
  const holder = now.status?.holder ?? undefined
  if (holder?.storeId === store.id) return now
  const isMounted = headMounts(store, label).length > 0
  if (isMounted && holder === undefined) {
    await claim(context, label, name, signal)
    return (await getObject(server, STRATUM_LABELS, name, { signal })) ?? now
  }
  if (isMounted) log.error({ label, holder: holder?.nodeName }, 'HEAD is mounted here and belongs to another node')
  else log.warn({ label, holder: holder?.nodeName }, 'HEAD was released')
  forgetHolder(store, label)
  return now
}

/** Removes the tags of requests that were deleted while this node did not answer. */
async function bury(
  { store, nodeName, log }: NodeContext,
  label: Label,
  { status }: StratumLabel,
  signal: AbortSignal,
): Promise<boolean> {
  const mine = (status?.tombstones ?? []).filter(tombstone => tombstone.nodeName === nodeName)
  for (const tombstone of mine) {
    const { uid } = tombstone
    const { tags, commit } = madeBy(store, tombstone)
    if (commit === undefined || !hasLabel(store, label)) continue
    const gone = await removeTags({ store, actor: `stratumcommit/${uid}`, signal }, label, { tags, commit })
    log.info({ label, uid, tags: gone }, 'removed the tags of a request that was deleted')
  }
  return mine.length > 0
}

/** The journal knows best what a request made; what the controller knew of it is on the tombstone. */
function madeBy(store: Store, { uid, tags, commitId }: Tombstone): { tags: Tag[]; commit: CommitId | undefined } {
  const outcome = readEntry(store, uid)?.outcome
  if (outcome === undefined) return { tags: tags.filter(isTag), commit: commitId as CommitId | undefined }
  if (!outcome.ok) return { tags: [], commit: undefined }
  const made = outcome.tags.filter(({ state }) => state === 'Created').map(({ name }) => name)
  return { tags: made.filter(isTag), commit: outcome.commitId }
}

/** What has to be written; undefined if the object says it already. */
function statusOf(
  { store, nodeName }: NodeContext,
  { status = {} }: StratumLabel,
  local: DescribedLabel | undefined,
): MergePatch | undefined {
  const others = (status.nodes ?? []).filter(node => node.nodeName !== nodeName)
  const wanted: Record<string, unknown> = {
    nodes: local === undefined ? others : [...others, local.node],
    tombstones: (status.tombstones ?? []).filter(tombstone => tombstone.nodeName !== nodeName),
  }
  if (status.holder?.storeId === store.id) {
    const { lastCommit = null, tagCount = 0, tags = [] } = local?.asHolder ?? {}
    Object.assign(wanted, { lastCommit, tagCount, tags })
  }
  const isSame = (key: string, value: unknown): boolean => {
    const before = (status as Record<string, unknown>)[key]
    const isEmpty = value === null || (Array.isArray(value) && value.length === 0) || value === 0
    return isEmpty && before === undefined ? true : sortedJson(before) === sortedJson(value)
  }
  const changed = Object.entries(wanted).filter(([key, value]) => !isSame(key, value))
  return changed.length === 0 ? undefined : Object.fromEntries(changed)
}

/** JSON with the keys in order: the API server sorts them. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
