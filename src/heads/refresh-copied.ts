import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import { moveRefs } from '../refs/move-refs.ts'
import type { Store } from '../store/layout.ts'
import { captureHead } from './capture-head.ts'
import { foldHead } from './fold.ts'

/** What became of a HEAD that was copied. */
export interface RefreshedHead {
  readonly head: HeadRecord
  /** The commit of what the copy held: HEAD's base now. Its last commit stays what it was. */
  readonly base: CommitId
  /** Hard links of the old base that the copying tore apart. */
  readonly torn: readonly string[]
}

interface RefreshOptions {
  readonly actor: string
  readonly signal: AbortSignal | undefined
}

/**
 * Answers `CopiedHeadError`: after a copy or a restore of the store, and after an update of the kernel across a change of its file
 * handles, overlayfs refuses the upperdir (ESTALE). It is read without a mount, a commit is made of it, and HEAD gets that as its base,
 * with an empty upperdir. The caller holds the label's lock and the store's shared one.
 */
export async function refreshCopiedHead(
  store: Store,
  label: Label,
  head: HeadRecord,
  { actor, signal }: RefreshOptions,
): Promise<RefreshedHead> {
  const options = {
    consistency: 'idle',
    maxPauseMs: 0,
    deadlineMs: 0,
    freezers: undefined,
    message: undefined,
    author: actor,
    allowUnclean: true, // every ctime is that of the copying: nothing can be told by it
    signal,
  } as const
  let folded = head
  const { commit, torn } = await captureHead(store, label, head, options, async ({ commit: { metadata } }) => {
    moveRefs(store, label, { actor, operation: 'refresh', notes: { base: metadata.id } }, new Map())
    folded = foldHead(store, label, head, metadata.id, head.lastCommit)
  })
  return { head: folded, base: commit.metadata.id, torn }
}
