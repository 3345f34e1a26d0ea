import { bootId } from '../host/boot.ts'
import { close } from '../host/descriptors.ts'
import { exists } from '../host/files.ts'
import { attachMount } from '../host/mount-api.ts'
import { forgetMount, type Mounted, recordMount } from '../mounts/records.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, readHead, writeHead } from '../refs/head-file.ts'
import { finishMoves } from '../refs/move-refs.ts'
import { paths, type Store } from '../store/layout.ts'
import { discardNext, finishFold } from './fold.ts'
import { thawHead } from './freeze.ts'
import { headMounts } from './head-mounts.ts'
import { createHeadMount, headSource } from './probe-superblock.ts'
import { unmountTop } from './remount.ts'

/**
 * Brings a label back into order after whatever cut the last command off: writers that stand still go on first of all, then moves of refs
 * are finished, then a fold. The caller holds the label's lock. Undefined if the label has no HEAD.
 */
export async function recoverHead(store: Store, label: Label): Promise<HeadRecord | undefined> {
  thawHead(store, label)
  finishMoves(store, label)
  const head = readHead(store, label)
  if (head === undefined) return undefined
  if (head.state.kind === 'folding') return finishRemount(store, label, finishFold(store, label, head))
  if (exists(paths.next(store, label))) discardNext(store, label)
  return finishRemount(store, label, head)
}

/**
 * A fold that was cut off while HEAD was mounted: the old superblock is read-only since before the decision, so the new one holds all
 * that was ever written. It takes the old one's place.
 */
async function finishRemount(store: Store, label: Label, head: HeadRecord): Promise<HeadRecord> {
  const mounts = headMounts(store, label)
  const stale = mounts.filter(({ generation }) => generation !== head.generation)
  if (stale.length === 0) return head
  const recovered: HeadRecord = { ...head, bootId: bootId() }
  writeHead(store, label, recovered)
  for (const old of stale) {
    requireReadOnly(label, old)
    const isBeneath = mounts.some(
      ({ generation, mountpoint }) => generation === head.generation && mountpoint === old.mountpoint,
    )
    if (!isBeneath) {
      const fresh = createHeadMount(store, label, head, !old.noSuid)
      try {
        attachMount(fresh, old.mountpoint, true)
      } finally {
        close(fresh)
      }
    }
    await unmountTop(old.mountpoint)
    await forgetMount(old.mountpoint)
    await recordMount(headSource(store, label, head), old.mountpoint)
  }
  return recovered
}

/** @throws in-use: somebody mounted an old upperdir by hand; what is written there belongs to nobody */
function requireReadOnly(label: Label, { mountpoint, readOnly, generation }: Mounted): void {
  if (readOnly) return
  throw new StratumError(
    'in-use',
    `an old upperdir of ${label} (generation ${generation}) is mounted writable at ${toUser(mountpoint)}`,
    {
      hint: `Save what was written there, then: umount ${toUser(mountpoint)}`,
    },
  )
}
