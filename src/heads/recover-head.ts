import { bootId } from '../host/boot.ts'
import { close } from '../host/descriptors.ts'
import { nameOf, parentOf, removeTemporaries } from '../host/files.ts'
import { attachMount, cloneMount, copyMountAttributes } from '../host/mount-api.ts'
import { forgetMount, type Mounted, recordMount } from '../mounts/records.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, readHead, writeHead } from '../refs/head-file.ts'
import { finishMoves } from '../refs/move-refs.ts'
import { paths, type Store } from '../store/layout.ts'
import { discardNext, finishFold } from './fold.ts'
import { thawHead } from './freeze.ts'
import { headMounts, isOnTop } from './head-mounts.ts'
import { createHeadMount, headSource } from './probe-superblock.ts'
import { unmountTop } from './remount.ts'

/**
 * Brings a label back into order after whatever cut the last command off: writers that stand still go on first of all, then moves of refs
 * are finished, then a fold. The caller holds the label's lock. Undefined if the label has no HEAD.
 */
export async function recoverHead(store: Store, label: Label): Promise<HeadRecord | undefined> {
  thawHead(store, label)
  removeHalfWritten(store, label)
  finishMoves(store, label)
  const head = readHead(store, label)
  if (head === undefined) return undefined
  if (head.state.kind === 'folding') return finishRemount(store, label, finishFold(store, label, head))
  discardNext(store, label)
  return finishRemount(store, label, head)
}

function removeHalfWritten(store: Store, label: Label): void {
  removeTemporaries(paths.label(store, label))
  removeTemporaries(paths.tags(store, label))
  for (const kind of ['head', 'import'] as const) {
    const cache = paths.hashCache(store, label, kind)
    removeTemporaries(parentOf(cache), nameOf(cache))
  }
}

/**
 * A fold that was cut off while HEAD was mounted: the old superblock is read-only since before the decision, so the new one holds all
 * that was ever written. It takes the old one's place.
 */
async function finishRemount(store: Store, label: Label, head: HeadRecord): Promise<HeadRecord> {
  const mounts = headMounts(store, label)
  if (mounts.length === 0) return head
  const recovered: HeadRecord = { ...head, bootId: head.bootId || bootId() }
  if (head.bootId === '') writeHead(store, label, recovered)
  for (const old of mounts) if (old.generation !== head.generation) await replaceStale(store, label, head, old)
  return recovered
}

async function replaceStale(store: Store, label: Label, head: HeadRecord, old: Mounted): Promise<void> {
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
