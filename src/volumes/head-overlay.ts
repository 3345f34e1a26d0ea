import { setTimeout as sleep } from 'node:timers/promises'
import { StratumError } from '../errors/stratum-error.ts'
import { createHead } from '../heads/create-head.ts'
import { headMounts, isOnTop } from '../heads/head-mounts.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { close } from '../host/descriptors.ts'
import { makeDirectories, removeEmptyDirectory } from '../host/files.ts'
import { attachMount, cloneMount, copyMountAttributes } from '../host/mount-api.ts'
import { mountNumberAt } from '../host/stat.ts'
import type { Mounted } from '../mounts/records.ts'
import { type Label, labelFolder } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { type HeadRecord, readHead } from '../refs/head-file.ts'
import { requireLabel } from '../refs/resolve.ts'
import { hasLabel } from '../refs/tags.ts'
import { lockOptions } from '../repository/context.ts'
import { mountOrRefresh, requireBase } from '../repository/mount.ts'
import { unmountAndFold } from '../repository/unmount.ts'
import { lockLabelIfAny, lockStore } from '../store/locks.ts'
import { headTargets } from './ledger.ts'
import { ACTOR, contextOf, type Volumes } from './volumes.ts'

const FOLDER_MODE = 0o700
const DEFAULT_ATTRIBUTES = ['nosuid', 'nodev', 'relatime']

export interface HeadWish {
  /** It was made by CreateVolume: if it is gone, there is no other in its place. */
  readonly provisioned: boolean
  readonly securityContext: string | undefined
}

/** Where a label's HEAD is mounted, once: its targets are bound to it, and it outlives this process. */
export function headPath({ driver }: Volumes, label: Label): string {
  return `${driver.headsDir}/${labelFolder(label)}`
}

/**
 * Mounts a label's HEAD in headsDir, or finds it there. The caller holds the label's lock and the store's shared one.
 * @throws not-found, in-use (it lives where it cannot be reached, or with another security context), integrity
 */
export async function ensureHead(
  volumes: Volumes,
  label: Label,
  wish: HeadWish,
  signal: AbortSignal,
): Promise<HeadRecord> {
  const path = headPath(volumes, label)
  const known = knownHead(volumes, label, path)
  if (known !== undefined) return known
  const { store, ledger } = volumes
  const head = await requireHead(volumes, label, wish.provisioned)
  const mounts = headMounts(store, label).filter(({ generation }) => generation === head.generation)
  if (!mounts.some(mount => mount.mountpoint === path && isOnTop(mount))) {
    makeDirectories(path, FOLDER_MODE)
    const elsewhere = mounts.find(isOnTop)
    if (elsewhere !== undefined) bindHead(elsewhere, path)
    else
      await mountOrRefresh(
        contextOf(volumes, ACTOR, signal),
        { label, mountpoint: path, securityContext: wish.securityContext },
        head,
      )
  }
  const mounted = readHead(store, label) ?? head
  const mount = mountNumberAt(path)
  if (mount === undefined)
    throw new StratumError('unavailable', `${label} was mounted at ${toUser(path)} and is not there`)
  ledger.heads.set(label, { mount, generation: mounted.generation })
  return mounted
}

/** HEAD as it was left, if nothing happened to its mount since: no file but head.toml is read for that. */
function knownHead({ store, ledger }: Volumes, label: Label, path: string): HeadRecord | undefined {
  const known = ledger.heads.get(label)
  if (known === undefined || mountNumberAt(path) !== known.mount) return undefined
  const head = readHead(store, label)
  const isQuiet = head?.state.kind === 'clean' && head.still === undefined && head.generation === known.generation
  return isQuiet ? head : undefined
}

async function requireHead({ store }: Volumes, label: Label, provisioned: boolean): Promise<HeadRecord> {
  const head = await recoverHead(store, label)
  if (head !== undefined) return head
  if (!provisioned) return createHead(store, label, requireBase(store, label))
  throw lostHead(label)
}

/** @throws not-found */
export function requireStored({ store }: Volumes, label: Label, provisioned: boolean): void {
  if (!hasLabel(store, label) && provisioned) throw lostHead(label)
  requireLabel(store, label)
}

function lostHead(label: Label): StratumError {
  return new StratumError('not-found', `the HEAD of ${label} is not in this store`, {
    hint: 'It was provisioned on this node: restore the store, or delete the claim. An empty volume is never put in its place',
  })
}

/** Shows a HEAD that is mounted elsewhere in headsDir, too. */
function bindHead({ mountpoint }: Mounted, path: string): void {
  const clone = cloneMount(mountpoint)
  try {
    copyMountAttributes(clone, DEFAULT_ATTRIBUTES)
    attachMount(clone, path)
  } finally {
    close(clone)
  }
}

/**
 * Unmounts a HEAD that is published nowhere any more, and gives it its last commit as a base where that costs little. Returns whether it
 * is not mounted by us now. @throws busy, in-use (somebody is in headsDir)
 */
export async function unmountHead(volumes: Volumes, label: Label, signal?: AbortSignal): Promise<boolean> {
  const { store, ledger } = volumes
  const context = { ...contextOf(volumes, ACTOR, signal ?? new AbortController().signal) }
  using lock = await lockLabelIfAny(store, label, lockOptions(context))
  if (lock === undefined) return true
  using _store = await lockStore(store, 'shared', lockOptions(context))
  if (headTargets(ledger, label).length > 0) return false
  await recoverHead(store, label)
  const path = headPath(volumes, label)
  const mounts = headMounts(store, label).filter(({ mountpoint }) => mountpoint === path)
  ledger.heads.delete(label)
  if (mounts.length > 0) {
    const { folded } = await unmountAndFold(context, label, mounts)
    ledger.onFold(folded ? 'folded' : 'unmounted')
  }
  removeEmptyDirectory(path)
  return true
}

/** A pod that is replaced by its next one finds its HEAD still mounted, and the call that was the last is answered first. */
const LINGER_MS = 50

/** The same after the call that asked for it was answered, one HEAD after the other. What fails is tried again at the next start. */
export function retireHead(volumes: Volumes, label: Label): void {
  const { ledger } = volumes
  const lingered = sleep(LINGER_MS)
  const work = async (): Promise<void> => {
    await lingered
    try {
      if (headTargets(ledger, label).length === 0) await unmountHead(volumes, label)
    } catch {
      ledger.onFold('failed')
    }
  }
  ledger.background = ledger.background.then(work)
}
