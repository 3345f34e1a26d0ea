import { type Imported, importDirectory, type ImportOptions, type MountsPolicy } from '../capture/import-directory.ts'
import { touchProbe } from '../capture/probe.ts'
import { createReaderPool, type ReaderPool } from '../capture/reader-pool.ts'
import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { parentOf } from '../host/files.ts'
import { readMounts } from '../host/mountinfo.ts'
import { isDirectoryMode, statIfExists, statPath } from '../host/stat.ts'
import { parseMountSource } from '../mounts/source.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import type { Staging } from '../store/staging.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Context } from './context.ts'
import { type ImportResult, importWith, type NewCommit } from './import-with.ts'

export interface ImportRequest extends NewCommit {
  /** Absolute, latin1. */
  readonly path: string
  readonly mounts: MountsPolicy
}

/** Imports a directory as a new commit of a label. @throws exists (the tag), usage, unsupported, no-space */
export async function importTree(context: Context, request: ImportRequest): Promise<ImportResult> {
  const { label, path, mounts } = request
  requireDirectory(context.store, path, mounts)
  return importWith(context, request, toUser(path), async ({ staging, commit }) => {
    await using reading = openImportReading(context, label, staging)
    const { tree, unstable, saveHashes } = await reading.read(path, { mounts })
    const created = await commit(tree, await reading.pool.finish())
    saveHashes()
    return { ...created, unstable }
  })
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
  const cachePath = paths.hashCache(store, label, 'import')
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

/** @throws usage where it is none, is a part of the store, or a mount of ours that is not to be imported */
export function requireDirectory(store: Store, path: string, mounts: MountsPolicy): void {
  let stat: ReturnType<typeof statPath>
  try {
    stat = statPath(path)
  } catch (error) {
    throw toStratumError(error, `importing ${toUser(path)}`)
  }
  if (!isDirectoryMode(stat.mode)) throw new StratumError('usage', `${toUser(path)} is not a directory`)
  requireOutside(store, path)
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

/** The store's own files are nobody's data, and change while they are read. */
function requireOutside(store: Store, path: string): void {
  const own = statPath(store.path)
  for (let folder = path; ; folder = parentOf(folder)) {
    const stat = statIfExists(folder)
    if (stat?.inode === own.inode && stat.fileSystem === own.fileSystem) {
      const what = folder === path ? 'is the store itself' : `is in the store ${toUser(store.path)}`
      throw new StratumError('usage', `${toUser(path)} ${what}`, {
        hint: 'stratum export and stratum mount give what is stored',
      })
    }
    if (folder === '/') return
  }
}
