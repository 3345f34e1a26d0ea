import { StratumError } from '../errors/stratum-error.ts'

/** One call at a time for each volume, name or snapshot. A second one waits a moment, then is told to come again. */
export interface VolumeLocks {
  readonly held: Map<string, Promise<void>>
}

/** The fields by which a request names what it is about. */
const KEYS = ['volume_id', 'name', 'snapshot_id'] as const
const WAIT_MS = 2_000

export function createVolumeLocks(): VolumeLocks {
  return { held: new Map() }
}

/** @throws busy (ABORTED) when the other call takes longer than a moment */
export async function withVolume<T>(
  locks: VolumeLocks,
  request: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const key = KEYS.map(name => request[name]).find(value => typeof value === 'string' && value !== '') as
    | string
    | undefined
  if (key === undefined) return work()
  await waitFor(locks, key, signal)
  let release: () => void = () => undefined
  // Taken in the same step in which it was found free: nothing may be awaited in between.
  locks.held.set(key, new Promise(resolve => (release = resolve)))
  try {
    return await work()
  } finally {
    locks.held.delete(key)
    release()
  }
}

async function waitFor({ held }: VolumeLocks, key: string, signal: AbortSignal): Promise<void> {
  const end = performance.now() + WAIT_MS
  for (let other = held.get(key); other !== undefined; other = held.get(key)) {
    const left = end - performance.now()
    if (left <= 0) throw new StratumError('busy', `another call for ${key} is under way`)
    await Promise.race([other, pause(left, signal)])
    signal.throwIfAborted()
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, milliseconds)
    timer.unref()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
