import { createHead } from '../heads/create-head.ts'
import { headMounts } from '../heads/head-mounts.ts'
import { describeHolders } from '../heads/holders.ts'
import { mountHead } from '../heads/mount-head.ts'
import { findUsers } from '../heads/path-users.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { exchange } from '../host/descriptors.ts'
import {
  exists,
  listNames,
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
import { readHead } from '../refs/head-file.ts'
import { type LogEntry, readLog } from '../refs/log.ts'
import { hasLabel } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'
import { lockNewLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { type Context, lockOptions } from './context.ts'
import { importTree } from './import.ts'
import { type InitRequest, type InitResult, isUntouched, requireNewLabel } from './init.ts'

export interface MigrateRequest extends InitRequest {
  /** Delete the directory when everything is done. */
  readonly removeOriginal: boolean
}

const ORIGINAL_SUFFIX = '.pre-stratum'

/**
 * Makes an existing directory the first commit of a new label and mounts HEAD in its place. The directory is kept beside it. Refused while
 * somebody has a file in it open. Goes on where the same command was cut off. @throws exists, in-use (with the holders), usage
 */
export async function migrateDirectory(context: Context, request: MigrateRequest): Promise<InitResult> {
  const { store } = context
  const { label, mountpoint, removeOriginal } = request
  const original = `${mountpoint}${ORIGINAL_SUFFIX}`
  requireWritable(store)
  const begun = stageOf(store, request, original)
  if (begun === 'new') requireNewLabel(store, label)
  const isExchanged = begun === 'exchanged' || begun === 'mounted'
  if (begun === 'copied' && exists(original)) removeEmptyDirectory(original)
  if (!isExchanged) requireMigratable(mountpoint, original)
  const commit = (isExchanged && readHead(store, label)?.base) || (await importTwice(context, request))
  if (begun !== 'mounted') await putHeadInPlace(context, { label, mountpoint, original, commit, isExchanged })
  if (removeOriginal) removeTree(original)
  return { label, commit, mountpoint, original: removeOriginal ? undefined : original }
}

/**
 * How far the same command came before it was cut off: it has at most `copied` the directory into the store, or `exchanged` it, or HEAD
 * is `mounted` and only the original was still to be removed.
 */
function stageOf(
  store: Store,
  { label, mountpoint, removeOriginal }: MigrateRequest,
  original: string,
): 'new' | 'copied' | 'exchanged' | 'mounted' {
  if (!hasLabel(store, label)) return 'new'
  const isOwn = ({ message }: LogEntry): boolean => message === messageOf(mountpoint)
  const isMounted = headMounts(store, label).some(mounted => mounted.mountpoint === mountpoint)
  if (isMounted && removeOriginal && exists(original) && readLog(store, label).some(isOwn)) return 'mounted'
  if (!isUntouched(store, label, isOwn)) return 'new'
  const isExchanged = exists(original) && listNames(original).length > 0 && listNames(mountpoint).length === 0
  return isExchanged && readHead(store, label) !== undefined ? 'exchanged' : 'copied'
}

function messageOf(mountpoint: string): string {
  return `migrated from ${toUser(mountpoint)}`
}

/** @throws in-use if the directory does not hold still */
async function importTwice(context: Context, { label, mountpoint }: MigrateRequest): Promise<CommitId> {
  const importing = {
    label,
    path: mountpoint,
    tag: undefined,
    message: messageOf(mountpoint),
    mounts: 'refuse',
  } as const
  const { metadata } = await importTree(context, importing)
  requireUnused(mountpoint)
  // A second look costs little, as every file that held still is known by now: nothing may have changed since the first.
  const again = await importTree(context, importing)
  if (again.metadata.id === metadata.id) return metadata.id
  throw new StratumError(
    'in-use',
    `${toUser(mountpoint)} changed while it was imported. Nothing was mounted; the imported state is ${label}:${shortId(metadata.id)}`,
    {
      hint: `Stop what writes to it, then try again`,
    },
  )
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
  /** The directory has moved already. */
  readonly isExchanged: boolean
}

/** An empty directory takes the old one's place in one step; HEAD is mounted on it. */
async function putHeadInPlace(
  context: Context,
  { label, mountpoint, original, commit, isExchanged }: Placing,
): Promise<void> {
  const { store } = context
  using _label = await lockNewLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const begun = await recoverHead(store, label)
  const head = begun?.base === commit ? begun : createHead(store, label, commit)
  using undo = new DisposableStack()
  if (!isExchanged) {
    makeDirectory(original, 0o555)
    undo.defer(() => void removeEmptyDirectory(original))
    exchange(original, mountpoint)
    undo.defer(() => exchange(original, mountpoint))
    syncDirectory(parentOf(mountpoint))
  }
  // When HEAD is not mounted, nothing is to be written where it should be.
  if (setImmutable(mountpoint, true)) undo.defer(() => void setImmutable(mountpoint, false))
  await mountHead(store, label, head, mountpoint)
  undo.move()
}
