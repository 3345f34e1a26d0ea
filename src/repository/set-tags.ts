import { recoverHead } from '../heads/recover-head.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import type { LogEntry, RefMove } from '../refs/log.ts'
import { moveRefs, tagRef } from '../refs/move-refs.ts'
import { requireLabel, resolveCommit } from '../refs/resolve.ts'
import { readTag } from '../refs/tags.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { type Context, lockOptions } from './context.ts'
import { movesForTags, requireTags, type TagWish } from './record-commit.ts'

export interface SetTagsRequest {
  readonly source: Reference
  readonly tags: readonly TagWish[]
  readonly message?: string | undefined
  /** More facts for the label's log: the request of a cluster. */
  readonly notes?: LogEntry['notes']
}

/** Gives a commit several tags, all or none. Returns the commit. @throws not-found, exists, conflict, usage */
export async function setTags(context: Context, request: SetTagsRequest): Promise<CommitId> {
  const { store, actor } = context
  const { source, tags, message, notes } = request
  const { label } = source
  requireWritable(store)
  requireLabel(store, label)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  const { id } = resolveCommit(store, source)
  requireTags(store, label, tags, id)
  const operation = {
    actor,
    operation: 'tag',
    ...(notes === undefined ? {} : { notes }),
    ...(message === undefined ? {} : { message }),
  }
  moveRefs(store, label, operation, movesForTags(store, label, id, tags))
  return id
}

/** Takes tags away as long as they name a commit; others stay. Returns those that went. */
export async function removeTags(
  context: Context,
  label: Label,
  { tags, commit }: { tags: readonly Tag[]; commit: CommitId },
): Promise<Tag[]> {
  const { store, actor } = context
  requireWritable(store)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  const gone = tags.filter(tag => readTag(store, label, tag) === commit)
  const moves = gone.map((tag): [string, RefMove] => [tagRef(tag), { from: commit, to: null }])
  if (gone.length > 0) moveRefs(store, label, { actor, operation: 'remove' }, new Map(moves))
  return gone
}
