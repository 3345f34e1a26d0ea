import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { foldIfCommitted } from '../heads/fold-unmounted.ts'
import { headMounts, isOnTop } from '../heads/head-mounts.ts'
import { describeHolders, findHolders } from '../heads/holders.ts'
import { settleUnmounted } from '../heads/mount-head.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { unmount } from '../host/mount-api.ts'
import { forgetMount, inspectRecords, listMounted, type Mounted, tidyRecords } from '../mounts/records.ts'
import { type Label, quote } from '../names/label.ts'
import { parseReference } from '../names/reference.ts'
import { toUser } from '../names/text.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import type { Store } from '../store/layout.ts'
import { lockLabelIfAny, lockStore } from '../store/locks.ts'
import { type Context, lockOptions } from './context.ts'
import { removeDefaultMountpoint } from './mount.ts'

export interface UnmountResult {
  readonly label: Label
  readonly mountpoints: readonly string[]
  /** HEAD was as its last commit, which is its base now. */
  readonly folded: boolean
}

/** Unmounts what is at a path, or every mount that a reference means. @throws not-found, in-use (with the holders) */
export async function unmountTarget(context: Context, target: string): Promise<UnmountResult> {
  const { store } = context
  const [{ label }] = await findOrTidy(store, target)
  // What is mounted may be all that is left of a label: it was removed where this mount was not seen.
  using lock = await lockLabelIfAny(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  if (lock !== undefined) await recoverHead(store, label)
  // What is there now that nobody else changes it.
  return await unmountAndFold(context, label, findTarget(store, target))
}

/** Unmounts these mounts of a label. The caller holds the label's lock and the store's shared one. @throws in-use (with the holders) */
export async function unmountAndFold(
  { store, signal }: Context,
  label: Label,
  mounts: readonly Mounted[],
): Promise<UnmountResult> {
  for (const mounted of mounts) await unmountOne(mounted)
  const head = settleUnmounted(store, label)
  const isUnmounted = head !== undefined && headMounts(store, label).length === 0
  const folded = isUnmounted && !store.readOnly && (await tryToFold(store, label, head, signal))
  return { label, mountpoints: mounts.map(({ mountpoint }) => mountpoint), folded }
}

/** The unmount is done: what goes wrong here is no failure of it, and the next command finishes a fold that was begun. */
async function tryToFold(
  store: Store,
  label: Label,
  head: HeadRecord,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    return await foldIfCommitted(store, label, head, signal)
  } catch {
    return false
  }
}

/** What is not mounted any more, though it is noted, was unmounted by a command that was cut off, or by umount(8): the note goes. */
async function findOrTidy(store: Store, target: string): Promise<Mounted[]> {
  try {
    return findTarget(store, target)
  } catch (error) {
    if ((await inspectRecords()).stale.length > 0) await tidyRecords()
    throw error
  }
}

function findTarget(store: Store, target: string): Mounted[] {
  const mounted = listMounted(store)
  if (target.startsWith('/')) {
    const at = mounted.filter(({ mountpoint }) => mountpoint === target)
    if (at.length > 0) return at.slice(-1)
    throw new StratumError('not-found', `nothing of this store is mounted at ${toUser(target)}`, {
      hint: 'stratum status shows what is mounted',
    })
  }
  const reference = parseReference(target)
  const meant = mounted.filter(({ label, generation, tag, commit }) => {
    if (label !== reference.label) return false
    if (reference.kind === 'head') return generation !== undefined
    return generation === undefined && (tag === reference.name || commit.startsWith(reference.name))
  })
  if (meant.length === 0)
    throw new StratumError('not-found', `${quote(target)} is not mounted`, {
      hint: 'stratum status shows what is mounted',
    })
  return meant
}

async function unmountOne(mounted: Mounted): Promise<void> {
  const { mountpoint, device, label, tag, generation } = mounted
  if (!isOnTop(mounted)) {
    throw new StratumError('in-use', `something else is mounted over ${label} at ${toUser(mountpoint)}`, {
      hint: `Unmount that first: umount ${toUser(mountpoint)}`,
    })
  }
  try {
    unmount(mountpoint)
  } catch (error) {
    if (!isErrno(error, 'EBUSY')) throw toStratumError(error, `unmounting ${toUser(mountpoint)}`)
    const holders = findHolders(device)
    const who = holders.length > 0 ? describeHolders(holders) : 'somebody who is not to be seen from here'
    const what = generation === undefined ? `${label}:${tag ?? ''}` : label
    throw new StratumError('in-use', `${what} is in use at ${toUser(mountpoint)}: ${who}`, {
      details: { holders: holders.map(({ pid }) => String(pid)) },
    })
  }
  await forgetMount(mountpoint)
  removeDefaultMountpoint(mountpoint)
}
