import type { Label } from '../../names/label.ts'
import type { Volumes } from '../../volumes/volumes.ts'
import { keyOf, keyText } from '../client/objects.ts'
import { type Mirror, mirrorResource, type MirrorTiming } from '../client/mirror.ts'
import { createQueue } from '../client/queue.ts'
import { STRATUM_COMMITS, type StratumCommit } from '../resources/stratum.ts'
import { lookAtRequest, requestLabel } from './answer-request.ts'
import type { NodeContext } from './node-context.ts'
import { forgetEntries, listEntries } from './request-journal.ts'

/** Carries out the StratumCommits of the labels that this node holds. */
export interface RequestWorker extends AsyncDisposable {
  /** This store has become the holder of a label: requests for it may wait. */
  look(label: Label): void
  readonly synced: Promise<unknown>
}

interface WorkerOptions {
  readonly onTags: (label: Label) => void
  readonly timing?: Partial<MirrorTiming> | undefined
}

const WORKERS = 4
const BACKOFF_MS = [500, 60_000] as const
/** How long a journal entry outlives its end. */
const REMEMBER_MS = 60 * 24 * 60 * 60_000

export function workRequests(context: NodeContext, volumes: Volumes, options: WorkerOptions): RequestWorker {
  const { server, store, nodeName, log, metrics } = context
  forgetEntries(store, new Date(Date.now() - REMEMBER_MS))
  const mirrors: Mirror<StratumCommit>[] = []
  const find = (key: string): StratumCommit | undefined =>
    mirrors.map(mirror => mirror.get(key)).find(object => object !== undefined)
  const queue = createQueue(
    async (key, signal) => {
      await lookAtRequest({ context, volumes, onTags: options.onTags, signal }, key, find(key))
      return undefined
    },
    {
      name: 'requests',
      workers: WORKERS,
      backoffMs: BACKOFF_MS,
      log,
      metrics,
    },
  )
  const onChange = (key: string, now: StratumCommit | undefined, before: StratumCommit | undefined): void => {
    if (now !== undefined && isNews(now, before)) queue.add(key)
  }
  // A node watches what is its own and what is nobody's.
  for (const fieldSelector of [`status.nodeName=${nodeName}`, 'status.nodeName=']) {
    const { timing } = options
    mirrors.push(
      mirrorResource(server, STRATUM_COMMITS, {
        fieldSelector,
        project,
        onChange,
        log,
        metrics,
        ...(timing === undefined ? {} : { timing }),
      }),
    )
  }
  // What was begun is finished, even if its object is gone.
  for (const { namespace, name, outcome } of listEntries(store))
    if (outcome === undefined) queue.add(keyText({ namespace, name }))
  return {
    synced: Promise.all(mirrors.map(({ synced }) => synced)),
    look(label) {
      for (const mirror of mirrors)
        for (const object of mirror.values()) if (requestLabel(object) === label) queue.add(keyText(keyOf(object)))
    },
    async [Symbol.asyncDispose]() {
      for (const mirror of mirrors) await mirror[Symbol.asyncDispose]()
      await queue[Symbol.asyncDispose]()
    },
  }
}

/** What a node writes itself is no news to it: a request that is to be tried again waits for its time. */
function isNews({ metadata, status }: StratumCommit, before: StratumCommit | undefined): boolean {
  return (
    before === undefined ||
    metadata.generation !== before.metadata.generation ||
    metadata.deletionTimestamp !== before.metadata.deletionTimestamp ||
    metadata.finalizers?.length !== before.metadata.finalizers?.length ||
    status?.nodeName !== before.status?.nodeName
  )
}

/** Of what is over, little is kept in memory. */
function project(object: StratumCommit): StratumCommit {
  const { metadata, spec, status } = object
  const { managedFields: _, annotations: __, ...kept } = metadata as typeof metadata & { managedFields?: unknown }
  if (status?.completionTime === undefined) return { metadata: kept, spec, ...(status === undefined ? {} : { status }) }
  return { metadata: kept, spec: { ...spec, message: '' }, status: { ...status, conditions: [] } }
}
