import { StratumError } from '../errors/stratum-error.ts'
import { hashCachePath } from '../heads/capture-session.ts'
import { isSuperblockGone } from '../heads/probe-superblock.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { headMounts } from '../heads/head-mounts.ts'
import { exists, makeDirectory, nameOf, removeIfExists, rename, syncDirectory } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { readHead } from '../refs/head-file.ts'
import { appendLog } from '../refs/log.ts'
import { paths, type Store } from '../store/layout.ts'
import { requireWritable } from '../store/open-store.ts'
import { trashPath } from '../store/trash.ts'
import type { Context } from './context.ts'

/**
 * Brings a label into order and makes sure that nobody has its HEAD mounted. The caller holds the label's lock and the store's shared one.
 * @throws in-use, with the mountpoint
 */
export async function prepareHeadRemoval(store: Store, label: Label): Promise<void> {
  requireWritable(store)
  if ((await recoverHead(store, label)) !== undefined) requireHeadUnmounted(store, label)
}

/**
 * Moves a label's HEAD, with what is not committed, to the trash; its tags stay. Finishes a removal that was cut off, and does nothing if
 * there is no HEAD. To be called after `prepareHeadRemoval`, under the same locks.
 */
export function discardHead({ store, actor }: Context, label: Label): void {
  const head = readHead(store, label)
  if (head !== undefined) {
    const refs = { HEAD: { from: head.lastCommit, to: null } }
    appendLog(store, label, { time: new Date().toISOString(), actor, operation: 'remove HEAD', refs })
  }
  const parts = [paths.headFile, paths.upper, paths.work].map(pathOf => pathOf(store, label)).filter(exists)
  if (parts.length === 0) return
  const trash = trashPath(store, 'head')
  makeDirectory(trash, 0o700)
  // head.toml first: from then on there is no HEAD, and what is left of it is taken by the next call.
  for (const part of parts) rename(part, `${trash}/${nameOf(part)}`)
  syncDirectory(paths.label(store, label))
  syncDirectory(trash)
  removeIfExists(hashCachePath(store, label, 'head'))
}

/** @throws in-use, with the mountpoint */
function requireHeadUnmounted(store: Store, label: Label): void {
  const [mounted] = headMounts(store, label)
  if (mounted !== undefined)
    throw new StratumError('in-use', `HEAD of ${label} is mounted at ${toUser(mounted.mountpoint)}`, {
      hint: `stratum unmount ${toUser(mounted.mountpoint)}`,
      details: { mountpoint: toUser(mounted.mountpoint) },
    })
  const head = readHead(store, label)
  if (head !== undefined && !isSuperblockGone(store, label, head))
    throw new StratumError('in-use', `HEAD of ${label} is still mounted somewhere that is not seen from here`, {
      hint: 'End the processes that use it (another namespace, a lazy unmount)',
    })
}
