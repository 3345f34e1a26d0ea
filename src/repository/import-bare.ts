import { openCommitImage } from '../commits/open-image.ts'
import { createCommit } from '../commits/create-commit.ts'
import { toStratumError } from '../errors/errno.ts'
import { throwIfInterrupted } from '../host/signals.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { recoverHead } from '../heads/recover-head.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { moveRefs } from '../refs/move-refs.ts'
import { currentCommit, requireLabel, resolveCommit } from '../refs/resolve.ts'
import type { Store } from '../store/layout.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { clearStaleStaging, createStaging, type Staging } from '../store/staging.ts'
import { bareChanges } from '../tree/bare-changes.ts'
import { mergeTree } from '../tree/merge.ts'
import { type Context, lockOptions } from './context.ts'
import { openImportReading, requireDirectory } from './import.ts'
import type { ImportResult } from './import-with.ts'
import { movesForCommit, requireFreeTag } from './record-commit.ts'

export interface BareRequest {
  readonly label: Label
  readonly path: string
  readonly tag: Tag | undefined
  /** What the directory is laid over; the label's current commit if it is not given. */
  readonly onto: Reference | undefined
  readonly message: string | undefined
}

export interface BareResult extends ImportResult {
  readonly onto: CommitId
}

/** Lays a directory over a commit of a label and commits the result. HEAD and the directory stay as they are. @throws not-found, exists, usage */
export async function importBare(context: Context, request: BareRequest): Promise<BareResult> {
  const { store, actor } = context
  const { label, path, tag, message } = request
  requireWritable(store)
  requireDirectory(store, path, 'refuse')
  requireLabel(store, label)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  requireFreeTag(store, label, tag)
  const onto = resolveOnto(store, request)
  clearStaleStaging(store)
  using staging = createStaging(store)
  try {
    const { unstable, ...commit } = await layOver(context, request, staging, onto)
    await throwIfInterrupted(context.signal)
    const operation = {
      actor,
      operation: 'import --bare',
      notes: { onto },
      ...(message === undefined ? {} : { message }),
      ...(unstable.length > 0 ? { unstable: unstable.map(toUser) } : {}),
    }
    moveRefs(store, label, operation, movesForCommit(store, label, commit.metadata.id, tag))
    return { ...commit, label, tag, unstable, onto }
  } catch (error) {
    throw toStratumError(error, `importing ${toUser(path)}`)
  }
}

function resolveOnto(store: Store, { label, onto }: BareRequest): CommitId {
  if (onto !== undefined) return resolveCommit(store, onto).id
  const current = currentCommit(store, label)
  if (current === undefined)
    throw new StratumError('not-found', `${label} has no commit that the directory could be laid over`, {
      hint: 'Name one with --onto, or import without --bare',
    })
  return current
}

async function layOver(context: Context, { label, path, message }: BareRequest, staging: Staging, onto: CommitId) {
  const { store, actor } = context
  await using reading = openImportReading(context, label, staging)
  const { tree, unstable, saveHashes } = await reading.read(path, { mounts: 'refuse', whiteouts: true })
  const staged = await reading.pool.finish()
  const merged = mergeTree(openCommitImage(store, onto), bareChanges(tree))
  const commit = await createCommit(store, staging, { tree: merged, staged, parent: onto, message, author: actor })
  saveHashes()
  return { ...commit, unstable }
}
