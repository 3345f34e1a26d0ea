import { retryAfterMs } from './api-error.ts'
import { type Backoff, createBackoff } from './backoff.ts'

/** Keys to be looked at: each once however often it is added, by one worker at a time, and again later where that failed. */
export interface WorkQueue extends AsyncDisposable {
  add(key: string): void
  /** Milliseconds from now; the earliest of several counts. */
  addAfter(key: string, ms: number): void
  /** Keys that wait for a worker now. */
  readonly depth: number
}

export interface QueueOptions {
  readonly workers: number
  /** Milliseconds. */
  readonly backoffMs: readonly [min: number, max: number]
  readonly onError: (key: string, error: unknown, waitMs: number) => void
}

/**
 * `work` looks at one key; what it returns is when to look again: milliseconds from now, or undefined for when it is added. What it throws is
 * tried again after a wait that doubles for that key. Closing waits for what is being worked on, whose signal is aborted.
 */
export function createQueue(
  work: (key: string, signal: AbortSignal) => Promise<number | undefined>,
  { workers, backoffMs, onError }: QueueOptions,
): WorkQueue {
  const closing = new AbortController()
  const waiting = new Set<string>()
  const running = new Map<string, Promise<void>>()
  const again = new Set<string>()
  const alarms = createAlarms(key => add(key))
  const backoffs = new Map<string, Backoff>()

  const add = (key: string): void => {
    if (closing.signal.aborted) return
    if (running.has(key)) again.add(key)
    else waiting.add(key)
    startWorkers()
  }

  const startWorkers = (): void => {
    for (const key of waiting) {
      if (running.size >= workers) return
      waiting.delete(key)
      running.set(
        key,
        Promise.resolve().then(() => lookAt(key)),
      )
    }
  }

  const lookAt = async (key: string): Promise<void> => {
    try {
      const waitMs = await work(key, closing.signal)
      backoffs.delete(key)
      if (waitMs !== undefined) alarms.set(key, waitMs)
    } catch (error) {
      if (!closing.signal.aborted) {
        const backoff = backoffs.get(key) ?? createBackoff(...backoffMs)
        backoffs.set(key, backoff)
        const waitMs = Math.max(backoff.next(), retryAfterMs(error))
        onError(key, error, waitMs)
        alarms.set(key, waitMs)
      }
    } finally {
      running.delete(key)
      if (again.delete(key)) add(key)
      else startWorkers()
    }
  }

  return {
    add,
    addAfter: (key, ms) => alarms.set(key, ms),
    get depth() {
      return waiting.size
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      alarms.clear()
      waiting.clear()
      await Promise.all(running.values())
    },
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
