import { setImmediate as nextTurn } from 'node:timers/promises'
import { openCommitImage } from '../commits/open-image.ts'
import type { Arena, Image } from '../erofs/arena.ts'
import { eachDigest, eachDigestIn } from '../erofs/digests.ts'
import { SLOT } from '../erofs/format.ts'
import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { createDigestTable, type DigestTable } from '../hashes/digest-table.ts'
import { exists, listNames, readBytes } from '../host/files.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { paths, type Store } from '../store/layout.ts'

/** What is reachable: commits that stay and the objects that their images name. It only grows. */
export interface Mark {
  readonly commits: Set<CommitId>
  readonly objects: DigestTable
}

export function createMark(): Mark {
  return { commits: new Set(), objects: createDigestTable() }
}

export interface MarkOptions {
  readonly signal?: AbortSignal | undefined
  readonly onCommit?: ((objects: number, imageBytes: number) => void) | undefined
}

/**
 * Marks commits with their objects. Every image is checked against its digest first: a damaged one could hide an object that is needed.
 * @throws integrity for an image that cannot be trusted
 */
export async function markCommits(
  store: Store,
  mark: Mark,
  commits: Iterable<CommitId>,
  { signal, onCommit }: MarkOptions = {},
): Promise<void> {
  let memory: Arena | undefined
  for (const id of commits) {
    if (mark.commits.has(id)) continue
    const image = openTrusted(store, id, memory)
    memory = image.arena
    eachDigest(image, mark.objects.add)
    mark.commits.add(id)
    onCommit?.(mark.objects.size, image.firstAdded * SLOT)
    await nextTurn()
    signal?.throwIfAborted()
  }
}

/** An image that is what its commit says. `memory` is used again if it is large enough. @throws integrity */
export function openTrusted(store: Store, id: CommitId, memory: Arena | undefined): Image {
  try {
    return openCommitImage(store, id, 0, memory)
  } catch (cause) {
    const { message } = toStratumError(cause, 'reading an image')
    throw new StratumError(
      'integrity',
      `what commit ${shortId(id)} needs cannot be told, so nothing may be deleted: ${message}`,
      { cause, hint: 'stratum fsck --repair puts right what it can' },
    )
  }
}

/**
 * Marks what the images in quarantine name: somebody may still mend them. They are damaged, so they are only searched for what looks like
 * a digest.
 */
export function markQuarantine(store: Store, { objects }: Mark): void {
  for (const run of listNames(paths.quarantine(store))) {
    const commits = `${paths.quarantine(store)}/${run}/commits`
    for (const id of listNames(commits)) {
      const image = `${commits}/${id}/commit.cfs`
      if (exists(image)) eachDigestIn(readBytes(image), objects.add)
    }
  }
}
