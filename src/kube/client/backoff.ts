/** Waits that double, with a random part, so that many who failed at once do not come back at once. */
export interface Backoff {
  /** Milliseconds to wait after one more failure. */
  next(): number
  reset(): void
}

export function createBackoff(minMs: number, maxMs: number, random: () => number = Math.random): Backoff {
  let failures = 0
  return {
    next() {
      const fullMs = Math.min(maxMs, minMs * 2 ** Math.min(failures++, 30))
      return fullMs * (0.5 + random() / 2)
    },
    reset() {
      failures = 0
    },
  }
}
