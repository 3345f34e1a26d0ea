import { StratumError } from '../errors/stratum-error.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import { checkTagFor, type Tag } from '../names/tag.ts'
import type { RefMove } from '../refs/log.ts'
import { moveRefs, tagRef } from '../refs/move-refs.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { readTag } from '../refs/tags.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { type Context, lockOptions } from './context.ts'
import { dropAutomaticTag } from './record-commit.ts'

export interface TagRequest {
  readonly source: Reference
  readonly tag: Tag
  /** Rename: the source, a tag, goes away. */
  readonly move: boolean
  /** Move the tag if it exists elsewhere. */
  readonly force: boolean
}

export interface TagResult {
  readonly label: Label
  readonly tag: Tag
  readonly commit: CommitId
  /** Where the tag was before. */
  readonly from: CommitId | undefined
  readonly removed: Tag | undefined
}

/** Points a tag at a commit. @throws not-found, exists, usage */
export async function tagCommit(context: Context, { source, tag, move, force }: TagRequest): Promise<TagResult> {
  const { store } = context
  const { label } = source
  requireWritable(store)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  const { id, tag: sourceTag } = resolveCommit(store, source)
  checkTagFor(tag, id)
  if (move && sourceTag === undefined)
    throw new StratumError('usage', '--move renames a tag; the first argument names none')
  const from = readTag(store, label, tag)
  if (from !== undefined && from !== id && !force) {
    throw new StratumError('exists', `${label}:${tag} exists: it is ${shortId(from)}`, {
      hint: 'Move it there with --force',
    })
  }
  const moves = new Map<string, RefMove>()
  if (from !== id) moves.set(tagRef(tag), { from: from ?? null, to: id })
  if (from !== id) dropAutomaticTag(store, label, id, tag, moves)
  const removed = move && sourceTag !== tag ? sourceTag : undefined
  if (removed !== undefined) moves.set(tagRef(removed), { from: id, to: null })
  if (moves.size > 0) moveRefs(store, label, { actor: context.actor, operation: 'tag' }, moves)
  return { label, tag, commit: id, from, removed }
}
