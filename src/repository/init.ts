import { createHead } from '../heads/create-head.ts'
import { headMounts } from '../heads/head-mounts.ts'
import { mountHead } from '../heads/mount-head.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { listNames } from '../host/files.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { readHead } from '../refs/head-file.ts'
import { appendLog, type LogEntry, readLog } from '../refs/log.ts'
import { hasLabel, readTags } from '../refs/tags.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockNewLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { clearStaleStaging } from '../store/staging.ts'
import { type Context, lockOptions } from './context.ts'
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

/** Makes a new empty label and mounts its HEAD; goes on where the same command was cut off. @throws exists (the label), in-use (the mountpoint) */
export async function initLabel(context: Context, { label, mountpoint }: InitRequest): Promise<InitResult> {
  const { store, actor } = context
  requireWritable(store)
  using _label = await lockNewLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const isBegun =
    isUntouched(store, label, ({ operation }) => operation === 'init') && readTags(store, label).size === 0
  if (!isBegun) requireNewLabel(store, label)
  using _place = prepareMountpoint(mountpoint)
  clearStaleStaging(store)
  const begun = isBegun ? await recoverHead(store, label) : undefined
  const commit = begun?.base ?? (await createEmptyCommit(store))
  if (readLog(store, label).length === 0)
    appendLog(store, label, { time: new Date().toISOString(), actor, operation: 'init', refs: {} })
  await mountHead(store, label, begun ?? createHead(store, label, commit), mountpoint)
  return { label, commit, mountpoint, original: undefined }
}

export function requireNewLabel(store: Store, label: Label): void {
  if (hasLabel(store, label))
    throw new StratumError('exists', `the label ${label} exists`, {
      hint: `stratum mount ${label} <mountpoint> mounts its HEAD; stratum remove ${label} removes it`,
    })
}

/** Whether a label is as a command that makes labels leaves it when it is cut off: nothing else was ever done, nothing written, nothing mounted. */
export function isUntouched(store: Store, label: Label, isOwn: (entry: LogEntry) => boolean): boolean {
  if (!hasLabel(store, label) || !readLog(store, label).every(isOwn)) return false
  const head = readHead(store, label)
  if (head === undefined) return true
  const isNew = head.generation === 1 && head.base === head.lastCommit
  return isNew && headMounts(store, label).length === 0 && listNames(paths.upper(store, label)).length === 0
}
