import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Hears a Ctrl-C that came during work without a pause, and ends the work: to be called at the last moment when nothing counts yet.
 * @throws AbortError
 */
export async function throwIfInterrupted(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return
  await nextTurn() // what a signal does is done between two turns
  signal.throwIfAborted()
}
