import { createCommit } from '../commits/create-commit.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Store } from '../store/layout.ts'
import { createStaging } from '../store/staging.ts'
import { emptyImage } from '../tree/append.ts'
import { type Entry, PLAIN_DIRECTORY } from '../tree/entry.ts'
import { mergeTree } from '../tree/merge.ts'

/** The commit of an empty directory: what a new label begins with. */
export async function createEmptyCommit(
  store: Store,
  root: Partial<Pick<Entry, 'mode' | 'uid' | 'gid'>> = {},
): Promise<CommitId> {
  using staging = createStaging(store)
  const tree = mergeTree(emptyImage(), { entry: { ...PLAIN_DIRECTORY, ...root } })
  const { metadata } = await createCommit(store, staging, {
    tree,
    staged: [],
    parent: undefined,
    message: undefined,
    author: undefined,
  })
  return metadata.id
}
