import { setTimeout as sleep } from 'node:timers/promises'
import type { LayerScan } from '../capture/scan-layer.ts'
import { isErrno } from '../errors/errno.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { bootId } from '../host/boot.ts'
import type { Freezer } from '../host/cgroup.ts'
import { close } from '../host/descriptors.ts'
import { statPath } from '../host/stat.ts'
import { seesAllProcesses } from '../host/mountinfo.ts'
import {
  attachMount,
  copyMountAttributes,
  dropCaches,
  setSuperblockReadOnly,
  unmount,
  unmountAside,
} from '../host/mount-api.ts'
import { createLayeredMount } from '../mounts/layers.ts'
import { forgetMount, type Mounted, recordMount } from '../mounts/records.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { type HeadRecord, readHead, writeHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import type { CaptureSession } from './capture-session.ts'
import { discardNext, finishFold } from './finish-fold.ts'
import { beginFold, foldHead, prepareNext } from './fold.ts'
import { type Frozen, freezeWriters, markReadOnly, markThawed } from './freeze.ts'
import { headMounts, isOnTop } from './head-mounts.ts'
import { describeHolders, findUnseenHolders, viewSuperblock } from './holders.ts'
import { headSource, isSuperblockGone } from './probe-superblock.ts'

/** What became of HEAD's mount after a commit. */
export type Remounted =
  /** It has the new base and an empty upperdir, at the same place. */
  | { readonly how: 'swapped' }
  /** It was not mounted and has the new base. */
  | { readonly how: 'folded' }
  /** It stays as it is: nothing is lost, the new base comes when nobody uses it. */
  | { readonly how: 'later'; readonly why: string }

export interface RemountOptions {
  /** The commit that becomes the base, and what HEAD's last commit is then. */
  readonly to: CommitId
  readonly lastCommit: CommitId
  /** HEAD as it was captured: if anything moved since, it stays as it is. */
  readonly scan: LayerScan
  readonly session: CaptureSession
  /** Groups of all who could write through the mount, to stand still for the moment of the change. */
  readonly freezers: readonly Freezer[] | undefined
  readonly maxPauseMs: number
}

const WRITTEN_SINCE = 'it was written to since it was committed'
const UMOUNT_LIMIT_MS = 500
const UMOUNT_POLL_MS = 5

/**
 * Gives HEAD a new base on the fly, if the kernel proves that no write can be lost by it (docs/head.md 5: up to 200 changes against tight
 * writers, no write lost). The caller holds the label's lock, has captured HEAD and moved the refs.
 */
export async function remountHead(store: Store, label: Label, options: RemountOptions): Promise<Remounted> {
  const head = readHead(store, label) as HeadRecord
  const mounts = headMounts(store, label)
  if (mounts.length === 0) return foldIfGone(store, label, head, options)
  const obstacle = obstacleOf(mounts, options)
  if (obstacle !== undefined) return later(obstacle)
  return swap({ store, label, head, mounted: mounts[0], options })
}

function later(why: string): Remounted {
  return { how: 'later', why }
}

/** Nobody can mount HEAD while we hold the label's lock; but somebody may have written to it, and unmounted it, since it was captured. */
async function foldIfGone(store: Store, label: Label, head: HeadRecord, options: RemountOptions): Promise<Remounted> {
  if (!isSuperblockGone(store, label, head)) return later('it is still mounted somewhere that is not seen from here')
  const { moved } = await options.session.scan(options.scan)
  if (moved.length > 0) return later(WRITTEN_SINCE)
  foldHead(store, label, head, options.to, options.lastCommit)
  return { how: 'folded' }
}

/**
 * Begins what a re-mount takes longest for, if one will be tried: the kernel drops what it has cached of the old HEAD (54,000 names of a tree that was
 * listed before: 0.1 s). It would do so while HEAD is read-only; now it does beside the making of the commit.
 */
export async function prepareRemount(
  store: Store,
  label: Label,
  options: Pick<RemountOptions, 'freezers' | 'scan'>,
): Promise<void> {
  if (options.scan.root.children?.size === 0) return
  try {
    const mounts = headMounts(store, label)
    if (mounts.length === 0 || obstacleInMounts(mounts, options) !== undefined) return
    const [{ mountpoint }] = mounts
    if (expire(mountpoint) === 'idle') await dropCaches(mountpoint)
  } catch {
    // What is wrong is told by whoever has to know it.
  }
}

/** Why a mount cannot be exchanged. */
function obstacleOf(mounts: readonly Mounted[], options: RemountOptions): string | undefined {
  const obstacle = obstacleInMounts(mounts, options)
  if (obstacle !== undefined) return obstacle
  const unseen = findUnseenHolders(mounts[0])
  return unseen.length > 0 ? `it is in use: ${describeHolders(unseen)}` : undefined
}

/** Why a mount cannot be exchanged that is seen in more than one place, or by whom it would not notice. */
function obstacleInMounts(
  mounts: readonly Mounted[],
  { freezers }: Pick<RemountOptions, 'freezers'>,
): string | undefined {
  if (!mounts.every(isOnTop)) return 'something else is mounted over it'
  if (mounts.length > 1) return `it is mounted at ${mounts.map(({ mountpoint }) => toUser(mountpoint)).join(' and ')}`
  // The whole tree in the place of one directory would be other files under the same names.
  if (!mounts[0].isWhole) return `only a directory of it is mounted, at ${toUser(mounts[0].mountpoint)}`
  // A mount namespace that is not seen would keep the old mount, read-only; a caller who names all who can write knows that there is none.
  if (freezers === undefined && !seesAllProcesses()) return 'processes outside of this container may use it'
  const { mountIds, namespaces } = viewSuperblock(mounts[0].device)
  if (namespaces.length > 1) return `${namespaces.length} mount namespaces show it`
  return mountIds.size > 1 ? 'parts of it are mounted elsewhere too' : undefined
}

/** A mount of HEAD that is to be exchanged. */
interface Exchange {
  readonly store: Store
  readonly label: Label
  readonly head: HeadRecord
  readonly mounted: Mounted
  readonly options: RemountOptions
}

async function swap(exchange: Exchange): Promise<Remounted> {
  const { store, label, head, mounted, options } = exchange
  const { mountpoint } = mounted
  const mark = prepareNext(store, label, head, options.to)
  const source = headSource(store, label, mark)
  const fresh = createLayeredMount({
    image: paths.image(store, options.to),
    objects: paths.objects(store),
    source,
    upper: { upperdir: paths.nextUpper(store, label), workdir: paths.nextWork(store, label) },
    allowSuidAndDevices: !mounted.noSuid,
  })
  try {
    copyMountAttributes(fresh, mounted.options)
    if (expire(mountpoint) === 'busy')
      return giveUp(exchange, 'it is in use: a working directory, an open file or a socket is inside')
    const why = await exchangeMounts(exchange, fresh)
    if (why !== undefined) return giveUp(exchange, why)
    await forgetMount(mountpoint)
    await recordMount(source, mountpoint)
    return { how: 'swapped' }
  } finally {
    close(fresh)
  }
}

function giveUp({ store, label }: Exchange, why: string): Remounted {
  discardNext(store, label)
  return later(why)
}

/** While writers stand still and the kernel lets nobody write. Returns why it was not done, or nothing. */
async function exchangeMounts(exchange: Exchange, fresh: number): Promise<string | undefined> {
  const { store, label, mounted, options } = exchange
  const { freezers, maxPauseMs } = options
  const endAt = performance.now() + maxPauseMs
  markReadOnly(store, label, mounted.mountpoint)
  let frozen: Frozen | undefined
  let why: string | undefined
  try {
    if (freezers !== undefined) frozen = freezeWriters(store, label, { freezers }, maxPauseMs)
    setSuperblockReadOnly(mounted.mountpoint, true)
    why = await whileReadOnly(exchange, fresh, endAt)
  } catch (error) {
    why = reasonOf(error)
  } finally {
    frozen?.thaw()
  }
  markThawed(store, label)
  return why
}

/** Either the new mount takes the old one's place, or the old one becomes writable again, whatever happens. */
async function whileReadOnly(exchange: Exchange, fresh: number, endAt: number): Promise<string | undefined> {
  const { store, label, mounted, options } = exchange
  try {
    const why = await stillSame(options, mounted.mountpoint, endAt)
    if (why !== undefined) return why
    await putInPlace(exchange, fresh)
    return undefined
  } finally {
    if (readHead(store, label)?.generation === exchange.head.generation && !isFolding(store, label))
      setSuperblockReadOnly(mounted.mountpoint, false)
  }
}

function isFolding(store: Store, label: Label): boolean {
  return readHead(store, label)?.state.kind === 'folding'
}

/** What kept the mount from being exchanged. @throws what has nothing to do with it */
function reasonOf(error: unknown): string {
  if (isErrno(error, 'EBUSY')) return 'somebody has a file open for writing'
  if (isErrno(error, 'EINVAL')) return 'the kernel cannot exchange this mount'
  if (isStratumError(error, 'timeout') || isStratumError(error, 'busy')) return error.message
  throw error
}

/** The old superblock is read-only and holds nothing that the new base lacks. From the decision on, recovery would finish this. */
async function putInPlace({ store, label, head, mounted, options }: Exchange, fresh: number): Promise<void> {
  const { mountpoint } = mounted
  const marked = { ...(readHead(store, label) ?? head), bootId: bootId() }
  const folding = beginFold(store, label, marked, options.to, options.lastCommit)
  try {
    attachMount(fresh, mountpoint, true)
  } catch (error) {
    writeHead(store, label, { ...folding, state: { kind: 'clean' }, lastCommit: head.lastCommit })
    throw error
  }
  // The new mount is in place and the decision durable: what is left of the fold is the same to recovery before and after the unmount.
  const unmounted = unmountAside(mountpoint)
  unmounted.catch(() => undefined) // it is waited for below
  finishFold(store, label, folding)
  if (!(await unmounted)) await unmountTop(mountpoint)
}

/** Nobody can write now: whether HEAD is what was captured, and nobody is inside. */
async function stillSame(
  { session, scan }: RemountOptions,
  mountpoint: string,
  endAt: number,
): Promise<string | undefined> {
  try {
    const { moved } = await session.scan(scan, { endAt })
    if (moved.length > 0) return WRITTEN_SINCE
    return expire(mountpoint) === 'busy' ? 'somebody is inside' : undefined
  } catch (error) {
    if (isStratumError(error, 'timeout')) return 'looking whether it changed took too long'
    throw error
  }
}

/** Whether anybody uses a mount, asked without disturbing it. Twice in a row would unmount it, so the mount is touched in between. */
function expire(mountpoint: string): 'idle' | 'busy' {
  statPath(`${mountpoint}/.`)
  try {
    unmount(mountpoint, 'expire')
  } catch (error) {
    if (isErrno(error, 'EAGAIN')) return 'idle'
    if (isErrno(error, 'EBUSY')) return 'busy'
    throw error
  }
  throw new Error(`${mountpoint} was unmounted by asking whether it is in use`)
}

/** The old mount is read-only: whoever entered it at the last moment keeps reading, and a write fails loudly. */
export async function unmountTop(mountpoint: string): Promise<void> {
  for (const end = performance.now() + UMOUNT_LIMIT_MS; ; await sleep(UMOUNT_POLL_MS)) {
    try {
      return unmount(mountpoint)
    } catch (error) {
      if (!isErrno(error, 'EBUSY')) throw error
      if (performance.now() >= end) return unmount(mountpoint, 'detach')
    }
  }
}
