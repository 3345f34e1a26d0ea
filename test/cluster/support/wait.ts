import { setTimeout as sleep } from 'node:timers/promises'

/** Long, because it only matters when something is broken, and the machine may be busy. */
const LIMIT_SECONDS = 180

export interface WaitOptions {
  readonly limitSeconds?: number
  /** Asked once when the limit is reached: what the person who reads the failure needs. */
  readonly explain?: () => Promise<string> | string
}

/**
 * Asks again and again until the answer is something other than undefined or false, and gives it. Errors count as "not yet"; the last one
 * is told when the limit is reached.
 */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions = {},
): Promise<T> {
  const end = performance.now() + (options.limitSeconds ?? LIMIT_SECONDS) * 1000
  let last: unknown
  for (let pause = 50; performance.now() < end; pause = Math.min(pause * 1.5, 1000)) {
    try {
      const answer = await ask()
      if (answer !== undefined && answer !== false) return answer
      last = undefined
    } catch (error) {
      last = error
    }
    await sleep(pause)
  }
  const why = last === undefined ? '' : `\nlast: ${last instanceof Error ? last.message : JSON.stringify(last)}`
  const more = options.explain === undefined ? '' : `\n${await options.explain()}`
  throw new Error(`waited ${options.limitSeconds ?? LIMIT_SECONDS} s in vain for ${what}${why}${more}`)
}
