import type { TreeShape } from './data.ts'
import type { Peer } from './peers.ts'

/** What every part of the benchmark gets. */
export interface Bench {
  /** A place of its own, on disk. */
  readonly folder: string
  readonly rounds: number
  readonly peers: readonly Peer[]
  /** The tree that is stored; never changed. */
  readonly tree: string
  readonly shape: TreeShape
  /** How many commits the history has. */
  readonly commits: number
  /** How many entries the large tree has. */
  readonly hugeEntries: number
  /** Whether another round may begin. */
  hasTime(): boolean
  say(text: string): void
}

/** The peers of these names, in an order that turns from round to round. */
export function inTurn<T>(list: readonly T[], round: number): T[] {
  return list.map((_, i) => list[(i + round) % list.length])
}
