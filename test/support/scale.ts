/** Counts of the random suites: STRATUM_TEST_SCALE=10 runs ten times as many. */
export function scaled(count: number): number {
  return Math.max(1, Math.round(count * Number(process.env.STRATUM_TEST_SCALE ?? 1)))
}

/** The first seed of a random suite: STRATUM_TEST_SEED, else always the same. */
export function firstSeed(): number {
  return Number(process.env.STRATUM_TEST_SEED ?? 1)
}
