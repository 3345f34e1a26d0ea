import { toStratumError } from '../errors/errno.ts'
import type { Consistency } from '../heads/stand-still.ts'
import { freeMemorySoon } from '../host/memory.ts'
import type { Label } from '../names/label.ts'
import { commitHead, type CommitResult } from '../repository/commit.ts'
import type { LogEntry } from '../refs/log.ts'
import type { TagWish } from '../repository/record-commit.ts'
import { podFreezers } from './pod-freezers.ts'
import { contextOf, type Volumes } from './volumes.ts'

export interface VolumeCommit {
  readonly label: Label
  /** All of them, or none and the commit; without any, the commit's id is its tag. */
  readonly tags: readonly TagWish[]
  /** False: without tags, only HEAD keeps the commit, for who is going to keep it otherwise. */
  readonly automaticTag?: boolean
  readonly message: string | undefined
  readonly consistency: Consistency
  /** Milliseconds that pods stand still at most at once. */
  readonly maxPauseMs: number
  /** Milliseconds after which a freeze is no longer tried again. */
  readonly deadlineMs: number
  /** Take files that look cut by a power loss as they are. */
  readonly allowUnclean: boolean
  /** Fail if HEAD is as its last commit. */
  readonly refuseUnchanged?: boolean
  /** For the label's log. */
  readonly actor: string
  /** More facts for it: the request of a cluster. */
  readonly notes?: LogEntry['notes']
}

/** A commit of such a tree leaves tens of MiB behind: 100 with 54,000 entries, whose image has 13 MB. */
const LARGE_IMAGE_BYTES = 4 << 20

export const MAX_PAUSE_MS = 1000
export const DEADLINE_MS = 60_000

/**
 * Makes a commit of a volume's HEAD while pods use it: for `freeze`, they stand still in their cgroups.
 * @throws not-found, exists (a tag), conflict (a tag that moved), in-use, timeout, unclean, integrity, no-space
 */
export async function commitVolume(
  volumes: Volumes,
  { actor, tags, ...request }: VolumeCommit,
  signal: AbortSignal,
): Promise<CommitResult> {
  const { onCommit } = volumes.ledger
  const { consistency } = request
  const started = performance.now()
  const seconds = (): number => (performance.now() - started) / 1000
  try {
    const result = await commitHead(contextOf(volumes, actor, signal), {
      ...request,
      tag: undefined,
      moreTags: tags,
      followLatest: false,
      freezers: undefined,
      findFreezers: () => podFreezers(volumes, request.label),
    })
    onCommit({ consistency, result: 'ok', seconds: seconds(), captured: result })
    if (result.commit.imageBytes > LARGE_IMAGE_BYTES) freeMemorySoon()
    return result
  } catch (error) {
    onCommit({
      consistency,
      result: toStratumError(error, 'the commit').code,
      seconds: seconds(),
      captured: undefined,
    })
    throw error
  }
}
