import { setTimeout as sleep } from 'node:timers/promises'
import { countOrphans } from '../csi/node.ts'
import { toStratumError } from '../errors/errno.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { fileSystemSpace } from '../host/files.ts'
import { collectGarbage, type CollectOptions } from '../repository/collect.ts'
import type { Context } from '../repository/context.ts'
import { scrubNext, SCRUB_PARTS } from '../repository/scrub.ts'
import type { Store } from '../store/layout.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Volumes } from '../volumes/volumes.ts'

export interface BackgroundOptions {
  readonly store: Store
  readonly volumes: Volumes
  readonly log: Logger
  readonly metrics: Metrics
  readonly signal: AbortSignal
  /** Milliseconds between two collections; 0 for none. */
  readonly collectEveryMs: number
  /** Milliseconds in which the whole store is checked once; 0 for never. */
  readonly scrubPeriodMs: number
  /** What else keeps commits. */
  readonly sources?: CollectOptions['sources']
}

const SPACE_EVERY_MS = 15_000
const ORPHANS_EVERY_MS = 60_000
/** Nodes that start together do not stay together. */
const JITTER = 0.1

/** Does what nobody asks for, one thing at a time each, until the signal ends it: garbage, the scrub, the space that is left. */
export async function workInBackground(options: BackgroundOptions): Promise<void> {
  const { collectEveryMs, scrubPeriodMs } = options
  await Promise.all([
    every(SPACE_EVERY_MS, options, async () => measureSpace(options)),
    every(ORPHANS_EVERY_MS, options, async () => countOrphans(options.volumes, options.metrics)),
    ...(collectEveryMs > 0 ? [every(collectEveryMs, options, () => collect(options))] : []),
    ...(scrubPeriodMs > 0 ? [every(scrubPeriodMs / SCRUB_PARTS, options, () => scrub(options))] : []),
  ])
}

async function every(
  milliseconds: number,
  { signal, log }: BackgroundOptions,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work()
    } catch (error) {
      if (!signal.aborted) log.error({ error: toStratumError(error, 'in the background').message }, 'background failed')
    }
    const pause = milliseconds * (1 + JITTER * (2 * Math.random() - 1))
    await sleep(pause, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

async function measureSpace({ store, metrics }: BackgroundOptions): Promise<void> {
  const { bytes, freeBytes, inodes, freeInodes } = fileSystemSpace(store.path)
  metrics.storeBytes.set({ kind: 'size' }, bytes)
  metrics.storeBytes.set({ kind: 'available' }, freeBytes)
  metrics.storeInodes.set({ kind: 'size' }, inodes)
  metrics.storeInodes.set({ kind: 'available' }, freeInodes)
}

/** What `stratum gc` does. A store in use is no failure: the next time will do. */
async function collect({ store, log, metrics, signal, sources }: BackgroundOptions): Promise<void> {
  const end = metrics.collectSeconds.startTimer()
  try {
    const result = await collectGarbage(contextOf(store, signal), sources === undefined ? {} : { sources })
    end({ result: result.postponed === undefined ? 'done' : 'postponed' })
    metrics.collectedBytes.inc(result.freed.bytes)
    if (result.postponed === undefined) metrics.collectedLast.setToCurrentTime()
    const { commits, objects, bytes, freed, postponed } = result
    if (commits + objects + freed.items > 0)
      log.info({ commits, objects, bytes, freed, postponed }, 'collected garbage')
  } catch (error) {
    const isBusy = isStratumError(error, 'busy')
    end({ result: isBusy ? 'postponed' : 'failed' })
    if (!isBusy) throw error
  }
}

async function scrub({ store, log, metrics, signal }: BackgroundOptions): Promise<void> {
  const { bytes, findings } = await scrubNext(contextOf(store, signal))
  metrics.scrubbedBytes.inc(bytes)
  for (const { severity, what, message, affected } of findings) {
    metrics.scrubFindings.inc({ severity })
    if (severity === 'damage') log.error({ what, problem: message, affected }, 'damage in the store')
  }
}

function contextOf(store: Store, signal: AbortSignal): Context {
  return { store, actor: 'node', signal }
}
