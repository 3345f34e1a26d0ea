import { StratumError } from '../errors/stratum-error.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Openness } from './open-images.ts'
import type { Root } from './root.ts'

/** Which commits stay and which go. */
export interface Decision {
  /** What keeps each commit that stays; nothing for one that only its open image keeps. */
  readonly stay: ReadonlyMap<CommitId, readonly Root[]>
  readonly go: readonly CommitId[]
  /** Commits that no root names but whose image somebody has open, or may have. */
  readonly held: readonly Held[]
}

export interface Held {
  readonly commit: CommitId
  readonly openness: Exclude<Openness, 'closed'>
}

/**
 * Decides over the commits of a store. `probe` is asked about those only that no root names. @throws integrity for a root whose commit
 * is not there: what it needs cannot be known
 */
export function decideCommits(
  commits: readonly CommitId[],
  roots: readonly Root[],
  probe: (id: CommitId) => Openness,
): Decision {
  const present = new Set(commits)
  const stay = new Map<CommitId, Root[]>()
  for (const root of roots) {
    if (!present.has(root.commit)) throw dangling(root)
    const others = stay.get(root.commit)
    if (others === undefined) stay.set(root.commit, [root])
    else others.push(root)
  }
  const go: CommitId[] = []
  const held: Held[] = []
  for (const commit of commits) {
    if (stay.has(commit)) continue
    const openness = probe(commit)
    if (openness === 'closed') go.push(commit)
    else {
      held.push({ commit, openness })
      stay.set(commit, [])
    }
  }
  return { stay, go, held }
}

function dangling({ holder, commit }: Root): StratumError {
  return new StratumError(
    'integrity',
    `${holder} names commit ${shortId(commit)}, which is not in the store, so nothing may be deleted`,
    { hint: 'stratum fsck --repair looks for it in the trash' },
  )
}
