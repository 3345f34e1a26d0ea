import { touchProbe } from '../capture/probe.ts'
import type { ReaderPool } from '../capture/reader-pool.ts'
import { openCommitImage } from '../commits/open-image.ts'
import { hashTreeAside } from '../commits/hash-aside.ts'
import type { Label } from '../names/label.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import type { Store } from '../store/layout.ts'
import { createStaging } from '../store/staging.ts'
import { INLINE_BYTES_MAX } from '../tree/entry.ts'
import { layerChanges } from '../tree/layer-changes.ts'
import { mergeTree } from '../tree/merge.ts'
import { openCaptureSession } from './capture-session.ts'
import { foldHead } from './fold.ts'
import { isSuperblockGone } from './probe-superblock.ts'

/** Hashing more than this takes longer than an unmount may. */
const INODES_MAX = 200_000

/**
 * Gives a HEAD that is as its last commit that commit as its base, with an empty upperdir, where this costs little: no file is read but
 * those that live in the image. A re-mount that had to wait is made up for so. The caller holds the label's lock and the store's shared
 * one, and HEAD was just seen to be unmounted. Returns whether it was done.
 */
export async function foldIfCommitted(
  store: Store,
  label: Label,
  head: HeadRecord,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (head.base === head.lastCommit || !isSuperblockGone(store, label, head)) return false
  const base = openCommitImage(store, head.base)
  if (base.inodes > INODES_MAX) return false
  using staging = createStaging(store)
  // Nothing is waited for here, in no thread: whoever wants the label has it the sooner.
  const probe = touchProbe(store)
  await using session = openCaptureSession(store, label, staging, { probe, signal, change: refusingToRead })
  try {
    const { change } = layerChanges(base, await session.scan())
    const { id } = await hashTreeAside(mergeTree(base, change))()
    if (id !== head.lastCommit) return false
  } catch (error) {
    if (error instanceof NotRemembered) return false
    throw error
  }
  foldHead(store, label, head, head.lastCommit)
  return true
}

/** A file whose hash is not remembered would have to be read. */
class NotRemembered extends Error {}

function refusingToRead(pool: ReaderPool): ReaderPool {
  return {
    ...pool,
    read(directory, name, bytes, done) {
      if (bytes <= INLINE_BYTES_MAX) return pool.read(directory, name, bytes, done)
      done(undefined)
      throw new NotRemembered(name)
    },
  }
}
