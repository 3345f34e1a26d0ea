import { createHead } from '../heads/create-head.ts'
import { describeHolders } from '../heads/holders.ts'
import { mountHead } from '../heads/mount-head.ts'
import { findUsers } from '../heads/path-users.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { exchange } from '../host/descriptors.ts'
import {
  exists,
  makeDirectory,
  parentOf,
  removeEmptyDirectory,
  removeTree,
  setImmutable,
  syncDirectory,
} from '../host/files.ts'
import { readMounts } from '../host/mountinfo.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { appendLog } from '../refs/log.ts'
import { hasLabel } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { type Context, lockOptions } from './context.ts'
import { importTree } from './import.ts'
import { createEmptyCommit } from './empty-commit.ts'
import { prepareMountpoint } from './mount.ts'

export interface InitRequest {
  readonly label: Label
  /** Absolute, latin1. */
  readonly mountpoint: string
}

export interface InitResult {
  readonly label: Label
  readonly commit: CommitId
  readonly mountpoint: string
  /** Where the directory is that was migrated; undefined if it was removed or there was none. */
  readonly original: string | undefined
}

const ORIGINAL_SUFFIX = '.pre-stratum'

/** Makes a new empty label and mounts its HEAD. @throws exists (the label), in-use (the mountpoint) */
export async function initLabel(context: Context, { label, mountpoint }: InitRequest): Promise<InitResult> {
  const { store, actor } = context
  requireWritable(store)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  requireNewLabel(store, label)
  prepareMountpoint(mountpoint)
  const commit = await createEmptyCommit(store)
  appendLog(store, label, { time: new Date().toISOString(), actor, operation: 'init', refs: {} })
  await mountHead(store, label, createHead(store, label, commit), mountpoint)
  return { label, commit, mountpoint, original: undefined }
}

function requireNewLabel(store: Store, label: Label): void {
  if (hasLabel(store, label))
    throw new StratumError('exists', `the label ${label} exists`, {
      hint: `stratum mount ${label} <mountpoint> mounts its HEAD; stratum remove ${label} removes it`,
    })
}

export interface MigrateRequest extends InitRequest {
  /** Delete the directory when everything is done. */
  readonly removeOriginal: boolean
}

/**
 * Makes an existing directory the first commit of a new label and mounts HEAD in its place. The directory is kept beside it. Refused while
 * somebody has a file in it open. @throws exists, in-use (with the holders), usage
 */
export async function migrateDirectory(context: Context, request: MigrateRequest): Promise<InitResult> {
  const { store } = context
  const { label, mountpoint } = request
  const original = `${mountpoint}${ORIGINAL_SUFFIX}`
  requireWritable(store)
  if (hasLabel(store, label)) requireNewLabel(store, label)
  requireMigratable(mountpoint, original)
  const importing = {
    label,
    path: mountpoint,
    tag: undefined,
    message: `migrated from ${toUser(mountpoint)}`,
    mounts: 'refuse',
  } as const
  const { metadata } = await importTree(context, importing)
  requireUnused(mountpoint)
  // A second look costs little, as every file that held still is known by now: nothing may have changed since the first.
  const again = await importTree(context, importing)
  if (again.metadata.id !== metadata.id) {
    throw new StratumError(
      'in-use',
      `${toUser(mountpoint)} changed while it was imported. Nothing was mounted; the imported state is ${label}:${shortId(metadata.id)}`,
      {
        hint: `Stop what writes to it; then: stratum remove ${label} and try again`,
      },
    )
  }
  await putHeadInPlace(context, { label, mountpoint, original, commit: metadata.id })
  if (request.removeOriginal) removeTree(original)
  return { label, commit: metadata.id, mountpoint, original: request.removeOriginal ? undefined : original }
}

function requireMigratable(mountpoint: string, original: string): void {
  if (exists(original))
    throw new StratumError('exists', `${toUser(original)} exists, where the directory would be kept`, {
      hint: 'Move it away first',
    })
  if (readMounts().some(mount => mount.mountpoint === mountpoint))
    throw new StratumError('in-use', `${toUser(mountpoint)} is a mountpoint`)
  requireUnused(mountpoint)
}

/** @throws in-use with those who have a file in it open, or work in it */
function requireUnused(path: string): void {
  const users = findUsers(path)
  if (users.length === 0) return
  throw new StratumError('in-use', `${toUser(path)} is in use: ${describeHolders(users)}`, {
    hint: 'Stop them first: what they have open would stay the old directory',
    details: { holders: users.map(({ pid }) => String(pid)) },
  })
}

interface Placing {
  readonly label: Label
  readonly mountpoint: string
  readonly original: string
  readonly commit: CommitId
}

/** An empty directory takes the old one's place in one step; HEAD is mounted on it. */
async function putHeadInPlace(context: Context, { label, mountpoint, original, commit }: Placing): Promise<void> {
  const { store } = context
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const head = createHead(store, label, commit)
  makeDirectory(original, 0o555)
  using undo = new DisposableStack()
  undo.defer(() => void removeEmptyDirectory(original))
  exchange(original, mountpoint)
  undo.defer(() => exchange(original, mountpoint))
  syncDirectory(parentOf(mountpoint))
  // When HEAD is not mounted, nothing is to be written where it should be.
  if (setImmutable(mountpoint, true)) undo.defer(() => void setImmutable(mountpoint, false))
  await mountHead(store, label, head, mountpoint)
  undo.move()
}
