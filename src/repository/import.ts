import { type Imported, importDirectory, type ImportOptions, type MountsPolicy } from '../capture/import-directory.ts'
import { touchProbe } from '../capture/probe.ts'
import { createReaderPool, type ReaderPool } from '../capture/reader-pool.ts'
import { createCommit, type CreatedCommit } from '../commits/create-commit.ts'
import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { hashCachePath } from '../heads/capture-session.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { readMounts } from '../host/mountinfo.ts'
import { isDirectoryMode, statPath } from '../host/stat.ts'
import { parseMountSource } from '../mounts/source.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { moveRefs } from '../refs/move-refs.ts'
import { requireWritable } from '../store/open-store.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { clearStaleStaging, createStaging, type Staging } from '../store/staging.ts'
import { emptyImage } from '../tree/append.ts'
import { mergeTree } from '../tree/merge.ts'
import { type Context, lockOptions } from './context.ts'
import { movesForCommit, requireFreeTag } from './record-commit.ts'

export interface ImportRequest {
  readonly label: Label
  /** Absolute, latin1. */
  readonly path: string
  readonly tag: Tag | undefined
  readonly message: string | undefined
  readonly mounts: MountsPolicy
}

export interface ImportResult extends CreatedCommit {
  readonly label: Label
  readonly tag: Tag | undefined
  readonly unstable: readonly string[]
}

/** Imports a directory as a new commit of a label. @throws exists (the tag), usage, unsupported, no-space */
export async function importTree(context: Context, request: ImportRequest): Promise<ImportResult> {
  const { store } = context
  const { label, path, tag } = request
  requireWritable(store)
  requireDirectory(path, request.mounts)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  requireFreeTag(store, label, tag)
  clearStaleStaging(store)
  using staging = createStaging(store)
  try {
    const { commit, unstable } = await readAndCommit(context, request, staging)
    const operation = {
      actor: context.actor,
      operation: 'import',
      ...(request.message === undefined ? {} : { message: request.message }),
    }
    const { id } = commit.metadata
    moveRefs(
      store,
      label,
      unstable.length === 0 ? operation : { ...operation, unstable: unstable.map(toUser) },
      movesForCommit(store, label, id, tag),
    )
    return { ...commit, label, tag, unstable }
  } catch (error) {
    throw toStratumError(error, `importing ${toUser(path)}`)
  }
}

async function readAndCommit(
  context: Context,
  request: ImportRequest,
  staging: Staging,
): Promise<{ commit: CreatedCommit; unstable: string[] }> {
  const { store, actor } = context
  await using reading = openImportReading(context, request.label, staging)
  const { tree, unstable, saveHashes } = await reading.read(request.path, { mounts: request.mounts })
  const staged = await reading.pool.finish()
  const merged = mergeTree(emptyImage(), tree)
  const commit = await createCommit(store, staging, {
    tree: merged,
    staged,
    parent: undefined,
    message: request.message,
    author: actor,
  })
  saveHashes()
  return { commit, unstable }
}

/** What reading a directory into the store needs: threads, the hashes of the last import, progress. */
export interface ImportReading extends AsyncDisposable {
  readonly pool: ReaderPool
  read(path: string, options: Pick<ImportOptions, 'mounts' | 'whiteouts'>): Promise<Imported>
}

export function openImportReading(
  { store, signal, onProgress }: Context,
  label: Label,
  staging: Staging,
): ImportReading {
  const cachePath = hashCachePath(store, label, 'import')
  const probe = touchProbe(store)
  const pool = createReaderPool(store, staging, signal)
  const done = { stage: 'reading', files: 0, bytes: 0 }
  const onFile = (bytes: number): void => {
    done.files++
    done.bytes += bytes
    onProgress?.(done)
  }
  return {
    pool,
    read: (path, options) => importDirectory(store, path, { pool, cachePath, probe, onFile, ...options }),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

/** @throws usage where it is none, or a mount of ours that is not to be imported */
export function requireDirectory(path: string, mounts: MountsPolicy): void {
  let stat: ReturnType<typeof statPath>
  try {
    stat = statPath(path)
  } catch (error) {
    throw toStratumError(error, `importing ${toUser(path)}`)
  }
  if (!isDirectoryMode(stat.mode)) throw new StratumError('usage', `${toUser(path)} is not a directory`)
  const mount = readMounts().find(({ id }) => BigInt(id) === stat.mountId)
  const source = mount === undefined ? undefined : parseMountSource(mount.source)
  if (source === undefined || mounts === 'include') return
  const advice =
    source.generation === undefined
      ? 'It is in the store already'
      : `stratum commit ${source.label} stores what is in it`
  throw new StratumError('usage', `${toUser(path)} is a mount of ${source.label}`, {
    hint: `${advice}. To import it all the same: --include-mounts`,
  })
}
