import { type CapturedHead, captureHead } from '../heads/capture-head.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { prepareRemount, type Remounted, remountHead } from '../heads/remount.ts'
import type { StillOptions } from '../heads/stand-still.ts'
import { withoutDoubt } from '../heads/unclean.ts'
import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import type { Label } from '../names/label.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { readHead } from '../refs/head-file.ts'
import type { LogEntry } from '../refs/log.ts'
import { moveRefs } from '../refs/move-refs.ts'
import { requireLabel } from '../refs/resolve.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { clearStaleStaging } from '../store/staging.ts'
import { type Context, lockOptions } from './context.ts'
import { movesForHeadCommit, requireTags, type TagWish } from './record-commit.ts'

export interface CommitRequest extends StillOptions {
  readonly label: Label
  /** A new one. */
  readonly tag: Tag | undefined
  /** Further tags, moved together with the first. One that must be free may also name the commit already, if nothing changed. */
  readonly moreTags?: readonly TagWish[]
  /** False: without a tag, only HEAD keeps the commit, for who is going to keep it otherwise. */
  readonly automaticTag?: boolean
  /** False: `latest` stays, even if it names HEAD's last commit. */
  readonly followLatest?: boolean
  readonly message: string | undefined
  readonly allowUnclean: boolean
  /** Fail if HEAD is as its last commit. */
  readonly refuseUnchanged?: boolean
  /** More facts for the label's log: the request of a cluster. */
  readonly notes?: LogEntry['notes']
}

export interface CommitResult extends CapturedHead {
  readonly label: Label
  readonly tag: Tag | undefined
  /** HEAD's last commit before. */
  readonly parent: CommitId
  /** HEAD was as its last commit. */
  readonly unchanged: boolean
  readonly remounted: Remounted
}

/** Makes a commit of HEAD. @throws not-found, exists or conflict (a tag), in-use, timeout, unchanged, unclean, integrity, no-space */
export async function commitHead(context: Context, request: CommitRequest): Promise<CommitResult> {
  const { store } = context
  const { label, tag } = request
  requireWritable(store)
  requireLabel(store, label)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const head = await recoverHead(store, label)
  if (head === undefined)
    throw new StratumError('not-found', `${label} has no HEAD to commit`, { hint: `stratum mount ${label} makes one` })
  requireTags(store, label, tagsOf(request), head.lastCommit)
  clearStaleStaging(store)
  const remounted: { outcome: Remounted } = { outcome: { how: 'later', why: 'nothing changed' } }
  const captured = await captureHead(
    store,
    label,
    head,
    {
      ...request,
      author: context.actor,
      signal: context.signal,
      beside: scan => prepareRemount(store, label, { ...request, scan }),
    },
    async (result, session) => {
      record(context, request, result)
      const { id } = result.commit.metadata
      if (id === head.base) return
      const options = {
        to: id,
        lastCommit: id,
        scan: result.scan,
        session,
        freezers: request.freezers,
        maxPauseMs: request.maxPauseMs,
      }
      remounted.outcome = await remountHead(store, label, options).catch(failedToRemount)
    },
  )
  const unchanged = captured.commit.metadata.id === head.lastCommit
  return { ...captured, label, tag, parent: head.lastCommit, unchanged, remounted: remounted.outcome }
}

/** The commit is complete, and the next command finishes what was begun: that HEAD was not re-mounted is no failure of it. */
function failedToRemount(error: unknown): Remounted {
  return { how: 'later', why: toStratumError(error, 're-mounting').message }
}

function tagsOf({ tag, moreTags = [] }: CommitRequest): TagWish[] {
  return [...(tag === undefined ? [] : [{ name: tag, move: false, isNew: true }]), ...moreTags]
}

function record({ store, actor }: Context, request: CommitRequest, captured: CapturedHead): void {
  const { label, message, consistency, automaticTag = true, followLatest = true } = request
  const { id } = captured.commit.metadata
  if (request.refuseUnchanged && id === readHead(store, label)?.lastCommit)
    throw new StratumError('unchanged', `nothing changed in ${label} since ${shortId(id)}`)
  requireTags(store, label, tagsOf(request), id)
  const notes = {
    consistency,
    pauseMs: Math.round(captured.pauseMs * 10) / 10,
    files: captured.changes.added + captured.changes.modified + captured.changes.removed,
    bytes: captured.changes.bytes,
    ...(captured.suspicious.length === 0 ? {} : { unclean: captured.suspicious.length }),
    ...request.notes,
  }
  const unstable = captured.unstable.length === 0 ? {} : { unstable: captured.unstable.map(toUser) }
  const operation = { actor, operation: 'commit', notes, ...unstable, ...(message === undefined ? {} : { message }) }
  moveRefs(
    store,
    label,
    operation,
    movesForHeadCommit(store, label, id, { tags: tagsOf(request), automaticTag, followLatest }),
    head => ({ ...withoutDoubt(head), changes: captured.changes }),
  )
}
