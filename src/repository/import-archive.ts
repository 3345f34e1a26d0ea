import fs from 'node:fs'
import { addAbortSignal, type Readable } from 'node:stream'
import { type ArchiveOptions, readArchive } from '../archives/read-archive.ts'
import { requireSpace } from '../archives/space.ts'
import { toStratumError } from '../errors/errno.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { statPath, isRegularMode } from '../host/stat.ts'
import { nodePath, toUser } from '../names/text.ts'
import type { Context } from './context.ts'
import { type ImportResult, importWith, type NewCommit } from './import-with.ts'

export interface ArchiveRequest extends NewCommit, Pick<ArchiveOptions, 'plain' | 'platform'> {
  /** Absolute, latin1; or a stream of its bytes. */
  readonly source: string | Readable
  /** Do not compare its size with the space that is left. */
  readonly ignoreSpace: boolean
}

export interface ArchiveResult extends ImportResult {
  /** Names whose ACL could not be kept. */
  readonly lost: readonly string[]
}

const PIECE_BYTES = 1 << 18

/** Imports an archive as a new commit of a label. @throws exists (the tag), malformed, integrity, usage, unsupported, no-space */
export async function importArchive(context: Context, request: ArchiveRequest): Promise<ArchiveResult> {
  const { store, signal, onProgress } = context
  const { source, plain, platform } = request
  const name = typeof source === 'string' ? toUser(source) : 'the archive'
  const done = { stage: 'reading', files: 0, bytes: 0 }
  const onFile = (bytes: number): void => {
    done.files++
    done.bytes += bytes
    onProgress?.(done)
  }
  if (typeof source === 'string' && !request.ignoreSpace) checkSpace(context, source)
  return importWith(context, request, name, async ({ staging, commit }) => {
    using stream = openSource(source, signal)
    const reading = readArchive(store, staging, stream.bytes, { plain, platform, signal, onFile })
    const { tree, staged, lost } = await reading.catch(error => {
      throw naming(name, error)
    })
    return { ...(await commit(tree, staged)), unstable: [], lost }
  })
}

function checkSpace({ store }: Context, path: string): void {
  try {
    if (isRegularMode(statPath(path).mode)) requireSpace(store, path)
  } catch (error) {
    throw toStratumError(error, `importing ${toUser(path)}`)
  }
}

/** What is wrong is said of an archive or of a member of it; somebody who imports several must know of which. */
function naming(name: string, error: unknown): unknown {
  if (!isStratumError(error)) return error
  const { code, message, hint, details } = error
  return new StratumError(code, `${name}: ${message}`, { hint, details, cause: error })
}

/** The bytes of an archive, which end with an error when the signal comes. */
function openSource(source: string | Readable, signal: AbortSignal | undefined): Disposable & { bytes: Readable } {
  const bytes =
    typeof source === 'string' ? fs.createReadStream(nodePath(source), { highWaterMark: PIECE_BYTES }) : source
  bytes.on('error', () => undefined) // whoever reads gets it
  if (signal !== undefined) addAbortSignal(signal, bytes)
  return { bytes, [Symbol.dispose]: () => void bytes.destroy() }
}
