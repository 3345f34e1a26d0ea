import fs from 'node:fs'
import { hasCommit } from '../commits/commit-store.ts'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { CopiedHeadError, mountHead, type MountHeadOptions } from '../heads/mount-head.ts'
import type { RefreshedHead } from '../heads/refresh-copied.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { close, openDirectory } from '../host/descriptors.ts'
import { listNames, makeDirectories, removeEmptyDirectory } from '../host/files.ts'
import { tryLock } from '../host/locks.ts'
import { attachMount } from '../host/mount-api.ts'
import { readMounts } from '../host/mountinfo.ts'
import { createLayeredMount, type Layers } from '../mounts/layers.ts'
import { recordMount } from '../mounts/records.ts'
import { describeSource, formatMountSource, placeOf } from '../mounts/source.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { type Label, labelFolder } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import { LATEST, type Tag } from '../names/tag.ts'
import { nodePath, toUser } from '../names/text.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import { newestCommit, requireLabel, resolveCommit } from '../refs/resolve.ts'
import { readTag } from '../refs/tags.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { type Context, lockOptions } from './context.ts'

export interface MountRequest {
  readonly reference: Reference
  /** Absolute, latin1; undefined for a place below /run/user. */
  readonly mountpoint: string | undefined
  readonly readOnly: boolean
  readonly allowSuidAndDevices: boolean
  /** Of the caller, for the place below /run/user. */
  readonly uid: number
}

export interface MountResult {
  readonly label: Label
  readonly commit: CommitId
  readonly tag: Tag | undefined
  readonly mountpoint: string
  readonly writable: boolean
  /** Set if HEAD had been copied and got a new base of what it held. */
  readonly refreshed?: RefreshedHead
}

/** Mounts a label's HEAD, writable, or one of its commits, read-only (store.md 1 says what `latest` means). */
export async function mountReference(context: Context, request: MountRequest): Promise<MountResult> {
  const { store } = context
  const { label } = request.reference
  requireLabel(store, label)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const head = await recoverHead(store, label)
  const opensHead = request.reference.kind === 'head' || (request.reference.name === LATEST && !request.readOnly)
  if (opensHead) return await mountWritable(context, request, head)
  const { id, tag } = resolveCommit(store, request.reference)
  const mountpoint = request.mountpoint ?? defaultMountpoint(request.uid, `${labelFolder(label)}:${tag ?? id}`)
  using _place = prepareMountpoint(mountpoint)
  await mountCommit(store, { label, id, tag, mountpoint, allowSuidAndDevices: request.allowSuidAndDevices })
  return { label, commit: id, tag, mountpoint, writable: false }
}

async function mountWritable(
  context: Context,
  request: MountRequest,
  existing: HeadRecord | undefined,
): Promise<MountResult> {
  const { store } = context
  const { label } = request.reference
  const head = existing ?? (await createFirstHead(store, label))
  if (request.reference.kind === 'name') requireLatestIsHead(store, label, head)
  const mountpoint = request.mountpoint ?? defaultMountpoint(request.uid, labelFolder(label))
  using _place = prepareMountpoint(mountpoint)
  const { readOnly, allowSuidAndDevices } = request
  const refreshed = await mountOrRefresh(context, { label, mountpoint, readOnly, allowSuidAndDevices }, head)
  return {
    label,
    commit: head.lastCommit,
    tag: undefined,
    mountpoint,
    writable: !request.readOnly,
    ...(refreshed === undefined ? {} : { refreshed }),
  }
}

/** What reads images is loaded only for a label that has no HEAD yet. */
async function createFirstHead(store: Store, label: Label): Promise<HeadRecord> {
  const base = requireBase(store, label)
  const { createHead } = await import('../heads/create-head.ts')
  return createHead(store, label, base)
}

/** Where and how a HEAD is to be mounted. */
export interface HeadMountRequest extends MountHeadOptions {
  readonly label: Label
  readonly mountpoint: string
}

/**
 * Mounts a HEAD; the caller holds the label's lock and the store's shared one. One that was copied with its store cannot be mounted as it
 * is: what it holds becomes its new base.
 */
export async function mountOrRefresh(
  { store, actor, signal }: Context,
  { label, mountpoint, ...options }: HeadMountRequest,
  head: HeadRecord,
): Promise<RefreshedHead | undefined> {
  try {
    await mountHead(store, label, head, mountpoint, options)
    return undefined
  } catch (error) {
    if (!(error instanceof CopiedHeadError)) throw error
  }
  requireWritable(store)
  // What makes a commit is a third of the code, and a mount is to be there at once.
  const { refreshCopiedHead } = await import('../heads/refresh-copied.ts')
  const refreshed = await refreshCopiedHead(store, label, head, { actor, signal })
  await mountHead(store, label, refreshed.head, mountpoint, options)
  return refreshed
}

/** What a label's first HEAD is based on. @throws not-found */
export function requireBase(store: Store, label: Label): CommitId {
  const base = newestCommit(store, label)
  if (base !== undefined) return base
  throw new StratumError('not-found', `${label} has no commit that a HEAD could be based on`, {
    hint: `stratum import <directory> --label ${label}`,
  })
}

/** `latest` opens HEAD only while it is where HEAD is. @throws conflict, with both ways out */
function requireLatestIsHead(store: Store, label: Label, head: HeadRecord): void {
  const latest = readTag(store, label, LATEST)
  if (latest === undefined)
    throw new StratumError('not-found', `${label}:latest does not exist`, { hint: `stratum mount ${label} opens HEAD` })
  if (latest === head.lastCommit) return
  throw new StratumError(
    'conflict',
    `${label}:latest is ${shortId(latest)}, but HEAD is at ${shortId(head.lastCommit)}`,
    {
      hint: `Read-only as tagged: stratum mount ${label}:latest --read-only. HEAD set to it: stratum apply ${label}:latest <mountpoint>`,
    },
  )
}

interface CommitMount extends Pick<Layers, 'allowSuidAndDevices' | 'securityContext'> {
  readonly label: Label
  readonly id: CommitId
  readonly tag: Tag | undefined
}

/** Mounts a commit read-only. The caller holds the store's shared lock. @throws not-found, integrity, unsupported */
export async function mountCommit(
  store: Store,
  { mountpoint, ...options }: CommitMount & { readonly mountpoint: string },
): Promise<void> {
  const { mount, source } = createCommitMount(store, options)
  try {
    const takeBack = await recordMount(source, mountpoint)
    try {
      attachMount(mount, mountpoint)
    } catch (error) {
      await takeBack()
      throw toStratumError(error, `mounting at ${toUser(mountpoint)}`)
    }
  } finally {
    close(mount)
  }
}

/**
 * A mount of a commit that is attached nowhere yet; the caller closes it and holds the store's shared lock. @throws integrity, unsupported
 */
export function createCommitMount(
  store: Store,
  { label, id, tag, ...options }: CommitMount,
): { mount: number; source: string } {
  if (!hasCommit(store, id))
    throw new StratumError('integrity', `${label}:${tag ?? shortId(id)} names a commit that is not in the store`, {
      hint: 'stratum fsck lists what is missing',
    })
  const source = formatMountSource({
    label,
    commit: id,
    store: store.id,
    place: placeOf(store),
    generation: undefined,
    tag,
  })
  const layers = { image: paths.image(store, id), objects: paths.objects(store), source, ...options }
  return { mount: createLayeredMount(layers), source }
}

export function defaultMountpoint(uid: number, name: string): string {
  return `${process.env.STRATUM_RUN_USER ?? '/run/user'}/${uid}/stratum/${name}`
}

/**
 * An empty directory, made if it is missing; until it is let go, no other command of ours mounts anything there.
 * @throws in-use (a mount, files, another command), usage (no directory)
 */
export function prepareMountpoint(mountpoint: string): Disposable {
  try {
    const stat = fs.statSync(nodePath(mountpoint), { throwIfNoEntry: false })
    if (stat === undefined) makeDirectories(mountpoint)
    else if (!stat.isDirectory()) throw new StratumError('usage', `${toUser(mountpoint)} is not a directory`)
    using place = new DisposableStack()
    requireFree(mountpoint, isLockedByOther(place.adopt(openDirectory(mountpoint), close)))
    return place.move()
  } catch (error) {
    if (isErrno(error, 'ENOTDIR'))
      throw new StratumError('usage', `${toUser(mountpoint)} is below something that is no directory`)
    throw toStratumError(error, `using ${toUser(mountpoint)} as a mountpoint`)
  }
}

/** Some file systems have no locks for directories: there the mounts that are seen have to do. */
function isLockedByOther(directory: number): boolean {
  try {
    return !tryLock(directory, 'exclusive')
  } catch {
    return false
  }
}

/** To be asked when nobody else of us can mount there any more. @throws in-use */
function requireFree(mountpoint: string, isLocked: boolean): void {
  const occupied = readMounts().findLast(mount => mount.mountpoint === mountpoint)
  if (occupied !== undefined) {
    throw new StratumError(
      'in-use',
      `${toUser(mountpoint)} is a mountpoint already (${describeSource(occupied.source)})`,
      {
        hint: 'Unmount that first, or take another directory',
      },
    )
  }
  if (isLocked)
    throw new StratumError('in-use', `another command is about to mount something at ${toUser(mountpoint)}`, {
      hint: 'Try again, or take another directory',
    })
  if (listNames(mountpoint).length > 0)
    throw new StratumError('in-use', `${toUser(mountpoint)} is not empty: what is in it would be hidden`, {
      hint: 'Take an empty directory',
    })
}

/** The mountpoints that Stratum makes by itself go with their mount. */
export function removeDefaultMountpoint(mountpoint: string): void {
  if (/\/\d+\/stratum\/[^/]+$/.test(mountpoint)) removeEmptyDirectory(mountpoint)
}
