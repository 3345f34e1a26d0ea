import { createCommit, type CreatedCommit } from '../commits/create-commit.ts'
import { toStratumError } from '../errors/errno.ts'
import { throwIfInterrupted } from '../host/signals.ts'
import { recoverHead } from '../heads/recover-head.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import type { StagedFolder } from '../objects/place-objects.ts'
import { moveRefs } from '../refs/move-refs.ts'
import { lockNewLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { clearStaleStaging, createStaging, type Staging } from '../store/staging.ts'
import { emptyImage } from '../tree/append.ts'
import type { Change } from '../tree/entry.ts'
import { mergeTree } from '../tree/merge.ts'
import { type Context, lockOptions } from './context.ts'
import { movesForCommit, requireFreeTag } from './record-commit.ts'

/** The commit that an import makes. */
export interface NewCommit {
  readonly label: Label
  readonly tag: Tag | undefined
  readonly message: string | undefined
}

export interface ImportResult extends CreatedCommit {
  readonly label: Label
  readonly tag: Tag | undefined
  /** Paths that did not hold still while they were read. */
  readonly unstable: readonly string[]
}

/** What an import reads into, and the step that makes a commit of it. */
export interface Importing {
  readonly staging: Staging
  commit(tree: Change, staged: readonly StagedFolder[]): Promise<CreatedCommit>
}

/**
 * What every import has in common: locks, a staging area, the commit of what `read` brings from wherever it is, the refs. `source` is
 * for messages. @throws exists (the tag), and what `read` throws
 */
export async function importWith<Read extends CreatedCommit & { unstable: readonly string[] }>(
  context: Context,
  { label, tag, message }: NewCommit,
  source: string,
  read: (importing: Importing) => Promise<Read>,
): Promise<Read & ImportResult> {
  const { store, actor } = context
  requireWritable(store)
  using _label = await lockNewLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  requireFreeTag(store, label, tag)
  clearStaleStaging(store)
  using staging = createStaging(store)
  try {
    const result = await read({
      staging,
      commit: (tree, staged) =>
        createCommit(store, staging, {
          tree: mergeTree(emptyImage(), tree),
          staged,
          parent: undefined,
          message,
          author: actor,
        }),
    })
    const { metadata, unstable } = result
    await throwIfInterrupted(context.signal)
    const operation = {
      actor,
      operation: 'import',
      ...(message === undefined ? {} : { message }),
      ...(unstable.length > 0 ? { unstable: unstable.map(toUser) } : {}),
    }
    moveRefs(store, label, operation, movesForCommit(store, label, metadata.id, tag))
    return { ...result, label, tag }
  } catch (error) {
    throw toStratumError(error, `importing ${source}`)
  }
}
