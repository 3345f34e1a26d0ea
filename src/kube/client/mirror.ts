import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../telemetry/log.ts'
import type { KubeMetrics } from '../../telemetry/metrics.ts'
import { isGone, retryAfterMs } from './api-error.ts'
import type { ApiServer } from './api-server.ts'
import { createBackoff } from './backoff.ts'
import { keyOf, keyText, type KubeObject, listPages, type ListOptions, type Resource } from './objects.ts'
import { watchEvents } from './watch.ts'

/** A copy of all objects of a kind, as the API server has them, kept up to date by list and watch. */
export interface Mirror<T> extends AsyncDisposable {
  get(key: string): T | undefined
  values(): IterableIterator<T>
  size(): number
  /** The first list is here. */
  isSynced(): boolean
  /** Resolves with the first list; rejects when the mirror is closed before. */
  readonly synced: Promise<void>
}

export interface MirrorOptions<T extends KubeObject> extends Omit<ListOptions, 'signal'> {
  /** What is kept of an object, to save memory. Name and resource version must stay. */
  readonly project?: (object: T) => T
  /** An object came, changed or went (`now` is undefined then). Called in order, must not throw. */
  readonly onChange: (key: string, now: T | undefined, before: T | undefined) => void
  readonly log: Logger
  readonly metrics?: KubeMetrics | undefined
  /** For tests. */
  readonly timing?: Partial<MirrorTiming>
}

export interface MirrorTiming {
  /** Bounds of the time after which the server ends a watch. */
  readonly watchSeconds: readonly [min: number, max: number]
  /** Without a word for so long, a connection is taken for dead: bookmarks come about every minute. */
  readonly idleMs: number
  /** Everything is listed anew so often, whatever the watch said. */
  readonly relistMs: number
  readonly backoffMs: readonly [min: number, max: number]
}

const TIMING: MirrorTiming = {
  watchSeconds: [300, 600],
  idleMs: 150_000,
  relistMs: 45 * 60_000,
  backoffMs: [800, 30_000],
}
/** A watch that ends sooner in order counts as a failure, so that a server which closes all of them is not asked in a circle. */
const SHORT_WATCH_MS = 1000

export function mirrorResource<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  options: MirrorOptions<T>,
): Mirror<T> {
  const timing = { ...TIMING, ...options.timing }
  const closing = new AbortController()
  const { signal } = closing
  const copy = createCopy(options)
  const backoff = createBackoff(...timing.backoffMs)
  const synced = Promise.withResolvers<void>()
  synced.promise.catch(() => undefined)

  const follow = async (from: string): Promise<void> => {
    const [min, max] = timing.watchSeconds
    const timeoutSeconds = Math.round(min + Math.random() * (max - min))
    const watch = { ...selection(options), resourceVersion: from, timeoutSeconds, idleMs: timing.idleMs, signal }
    const begun = performance.now()
    for await (const event of watchEvents(server, resource, watch)) {
      backoff.reset()
      if (event.type !== 'BOOKMARK') copy.put(event.object, event.type === 'DELETED')
      copy.version = event.object.metadata.resourceVersion
    }
    if (performance.now() - begun < SHORT_WATCH_MS) throw new Error('the watch ended at once')
  }

  const run = async (): Promise<void> => {
    let listedAt = 0
    while (!signal.aborted) {
      try {
        if (copy.version === undefined || performance.now() - listedAt > timing.relistMs) {
          await copy.fill(listPages(server, resource, { ...selection(options), signal }))
          listedAt = performance.now()
          synced.resolve()
        }
        if (copy.version !== undefined) await follow(copy.version)
      } catch (error) {
        if (signal.aborted) return
        if (isGone(error)) copy.version = undefined
        options.metrics?.watchReconnects.inc({ reason: isGone(error) ? 'expired' : 'failed' })
        if (isGone(error)) options.metrics?.relists.inc()
        const waitMs = Math.round(Math.max(backoff.next(), retryAfterMs(error)))
        options.log.info({ resource: resource.plural, why: (error as Error).message, waitMs }, 'watch again')
        await sleep(waitMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }
  const running = run().finally(() => synced.reject(new Error('the mirror is closed')))
  return { ...viewOf(copy), synced: synced.promise, [Symbol.asyncDispose]: close }

  async function close(): Promise<void> {
    closing.abort()
    await running
  }
}

function selection({ namespace, fieldSelector, labelSelector }: ListOptions): ListOptions {
  return { namespace, fieldSelector, labelSelector }
}

function viewOf<T>(copy: Copy<T>): Pick<Mirror<T>, 'get' | 'values' | 'size' | 'isSynced'> {
  return {
    get: key => copy.objects.get(key),
    values: () => copy.objects.values(),
    size: () => copy.objects.size,
    isSynced: () => copy.isFilled,
  }
}

interface Copy<T> {
  readonly objects: ReadonlyMap<string, T>
  readonly isFilled: boolean
  /** Where a watch goes on; undefined where everything has to be listed. */
  version: string | undefined
  put(object: T, isDeleted: boolean): void
  /** Replaces everything at once with what a list returns, and tells what that changed. */
  fill(pages: AsyncIterable<{ items: readonly T[]; resourceVersion: string }>): Promise<void>
}

function createCopy<T extends KubeObject>({ project = object => object, onChange }: MirrorOptions<T>): Copy<T> {
  let objects = new Map<string, T>()
  let isFilled = false
  return {
    get objects() {
      return objects
    },
    get isFilled() {
      return isFilled
    },
    version: undefined,
    put(object, isDeleted) {
      const key = keyText(keyOf(object))
      const before = objects.get(key)
      const now = isDeleted ? undefined : project(object)
      if (now === undefined) objects.delete(key)
      else objects.set(key, now)
      onChange(key, now, before)
    },
    async fill(pages) {
      const fresh = new Map<string, T>()
      for await (const { items, resourceVersion } of pages) {
        for (const item of items) fresh.set(keyText(keyOf(item)), project(item))
        this.version = resourceVersion
      }
      const before = objects
      objects = fresh
      isFilled = true
      for (const [key, object] of before) if (!fresh.has(key)) onChange(key, undefined, object)
      for (const [key, object] of fresh) {
        const old = before.get(key)
        if (old?.metadata.resourceVersion !== object.metadata.resourceVersion) onChange(key, object, old)
      }
    },
  }
}
