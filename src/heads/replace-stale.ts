import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { close } from '../host/descriptors.ts'
import { attachMount, cloneMount, copyMountAttributes } from '../host/mount-api.ts'
import { forgetMount, type Mounted, recordMount } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import type { Store } from '../store/layout.ts'
import { headMounts, isOnTop } from './head-mounts.ts'
import { createHeadMount, headSource } from './probe-superblock.ts'
import { unmountTop } from './remount.ts'

/** Puts HEAD as it is now in the place of a mount of an older upperdir of it. */
export async function replaceStale(store: Store, label: Label, head: HeadRecord, old: Mounted): Promise<void> {
  requireReadOnly(label, old)
  if (!isOnTop(old) || !old.isWhole) return // a directory that was bound: it stays, read-only
  const current = headMounts(store, label).filter(({ generation }) => generation === head.generation)
  if (!current.some(({ mountpoint }) => mountpoint === old.mountpoint)) {
    const fresh = currentMount(store, label, head, current.find(isOnTop))
    if (fresh === undefined) return
    try {
      copyMountAttributes(fresh, old.options)
      attachMount(fresh, old.mountpoint, true)
    } finally {
      close(fresh)
    }
  }
  await unmountTop(old.mountpoint)
  await forgetMount(old.mountpoint)
  await recordMount(headSource(store, label, head), old.mountpoint)
}

/** One superblock for all places. Undefined if it lives where it cannot be seen from here: then the old one stays, read-only. */
function currentMount(store: Store, label: Label, head: HeadRecord, seen: Mounted | undefined): number | undefined {
  if (seen !== undefined) return cloneMount(seen.mountpoint)
  try {
    return createHeadMount(store, label, head)
  } catch (error) {
    if (isStratumError(error, 'in-use')) return undefined
    throw error
  }
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
