import type { Logger } from '../../telemetry/log.ts'
import type { KubeMetrics } from '../../telemetry/metrics.ts'
import { retryAfterMs } from './api-error.ts'
import { type Backoff, createBackoff } from './backoff.ts'

/** Keys to be looked at: each once however often it is added, by one worker at a time, and again later where that failed. */
export interface WorkQueue extends AsyncDisposable {
  add(key: string): void
  /** Milliseconds from now; the earliest of several counts. */
  addAfter(key: string, ms: number): void
}

export interface QueueOptions {
  /** For the metrics. */
  readonly name: string
  readonly metrics?: KubeMetrics | undefined
  readonly workers: number
  /** Milliseconds. */
  readonly backoffMs: readonly [min: number, max: number]
  readonly log: Logger
}

/**
 * `work` looks at one key; what it returns is when to look again: milliseconds from now, or undefined for when it is added. What it throws is
 * tried again after a wait that doubles for that key. Closing waits for what is being worked on, whose signal is aborted.
 */
export function createQueue(
  work: (key: string, signal: AbortSignal) => Promise<number | undefined>,
  options: QueueOptions,
): WorkQueue {
  const closing = new AbortController()
  const waiting = new Map<string, number>()
  const running = new Map<string, Promise<void>>()
  const again = new Set<string>()
  const alarms = createAlarms(key => add(key))
  const lookAt = createLook(work, options, alarms, closing.signal)

  const add = (key: string): void => {
    if (closing.signal.aborted) return
    if (running.has(key)) again.add(key)
    else if (!waiting.has(key)) waiting.set(key, performance.now())
    startWorkers()
  }

  const startWorkers = (): void => {
    for (const [key, since] of waiting) {
      if (running.size >= options.workers) break
      waiting.delete(key)
      options.metrics?.queueWaitSeconds.observe({ queue: options.name }, (performance.now() - since) / 1000)
      running.set(key, runOnce(key))
    }
    options.metrics?.queueDepth.set({ queue: options.name }, waiting.size)
  }

  const runOnce = async (key: string): Promise<void> => {
    await Promise.resolve() // so that `running` has it before it can end
    await lookAt(key)
    running.delete(key)
    if (again.delete(key)) add(key)
    else startWorkers()
  }

  return {
    add,
    addAfter: (key, ms) => alarms.set(key, ms),
    async [Symbol.asyncDispose]() {
      closing.abort()
      alarms.clear()
      waiting.clear()
      await Promise.all(running.values())
    },
  }
}

/** Works on one key and says when it is looked at again. Never throws. */
function createLook(
  work: (key: string, signal: AbortSignal) => Promise<number | undefined>,
  { name, metrics, backoffMs, log }: QueueOptions,
  alarms: Alarms,
  signal: AbortSignal,
): (key: string) => Promise<void> {
  const backoffs = new Map<string, Backoff>()
  return async key => {
    const end = metrics?.queueWorkSeconds.startTimer({ queue: name })
    try {
      const waitMs = await work(key, signal)
      backoffs.delete(key)
      if (waitMs !== undefined) alarms.set(key, waitMs)
    } catch (error) {
      if (signal.aborted) return
      const backoff = backoffs.get(key) ?? createBackoff(...backoffMs)
      backoffs.set(key, backoff)
      const waitMs = Math.round(Math.max(backoff.next(), retryAfterMs(error)))
      alarms.set(key, waitMs)
      metrics?.queueRetries.inc({ queue: name })
      log.info({ queue: name, key, why: (error as Error).message, waitMs }, 'again later')
    } finally {
      end?.()
    }
  }
}

interface Alarms {
  /** The earliest of several for one key counts. */
  set(key: string, ms: number): void
  /** None goes off any more. */
  clear(): void
}

/** Timers hold no longer times. */
const TIMER_MS_MAX = 2 ** 31 - 1

function createAlarms(ring: (key: string) => void): Alarms {
  const timers = new Map<string, { timer: NodeJS.Timeout; at: number }>()
  let closed = false
  const set = (key: string, ms: number): void => {
    const at = performance.now() + ms
    const earlier = timers.get(key)
    if (closed || (earlier !== undefined && earlier.at <= at)) return
    clearTimeout(earlier?.timer)
    const fire = (): void => {
      timers.delete(key)
      const leftMs = at - performance.now()
      if (leftMs > 1000) set(key, leftMs)
      else ring(key)
    }
    timers.set(key, { timer: setTimeout(fire, Math.min(ms, TIMER_MS_MAX)), at })
  }
  return {
    set,
    clear() {
      closed = true
      for (const { timer } of timers.values()) clearTimeout(timer)
    },
  }
}
