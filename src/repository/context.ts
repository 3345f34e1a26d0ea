import type { Store } from '../store/layout.ts'

/** How much of a long work is done, for a bar. */
export interface Progress {
  /** What is being done: `reading`, `storing`. */
  readonly stage: string
  readonly files: number
  readonly bytes: number
}

/** What every verb needs: the store, who asks, and how to stop or watch it. */
export interface Context {
  readonly store: Store
  /** For the log: a user's name, a service account. */
  readonly actor: string
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Milliseconds to wait for locks. */
  readonly lockLimitMs?: number
}

export function lockOptions({ signal, lockLimitMs }: Context): { signal: AbortSignal | undefined; limitMs?: number } {
  return lockLimitMs === undefined ? { signal } : { signal, limitMs: lockLimitMs }
}
