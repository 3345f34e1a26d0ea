/** Calls that were made: milliseconds of each, and seconds of all together. */
export interface Times {
  readonly each: readonly number[]
  readonly seconds: number
}

export interface Load {
  readonly inFlight: number
  readonly calls: number
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
}

/** Runs a list of calls, so many at once. @throws what a call throws: a failure has no time */
export async function runCalls(calls: readonly (() => Promise<unknown>)[], inFlight: number): Promise<Times> {
  const each: number[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < calls.length) {
      const call = calls[next++]
      const begun = performance.now()
      await call()
      each.push(performance.now() - begun)
    }
  }
  const begun = performance.now()
  await Promise.all(Array.from({ length: inFlight }, work))
  return { each, seconds: (performance.now() - begun) / 1000 }
}

export function summarize(list: readonly Times[], inFlight: number): Load {
  const each = list.flatMap(times => times.each).sort((a, b) => a - b)
  const seconds = list.reduce((sum, times) => sum + times.seconds, 0)
  const at = (share: number): number => each[Math.min(each.length - 1, Math.floor(each.length * share))]
  return { inFlight, calls: each.length, perSecond: each.length / seconds, p50: at(0.5), p99: at(0.99) }
}
