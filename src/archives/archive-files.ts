import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { posix } from 'node:path'
import { StratumError } from '../errors/stratum-error.ts'
import { fromUser, nodePath, toUser } from '../names/text.ts'
import { isRegularMode, isSymlinkMode } from '../host/stat.ts'
import type { StagedObjects } from '../objects/staged-objects.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Change, Entry } from '../tree/entry.ts'
import { PIECE_BYTES } from './decompress.ts'
import { malformed } from './errors.ts'
import { find } from './tree-builder.ts'

/** The files of an archive of archives: they were stored in the staging area as they came, in whatever order. */
export interface ArchiveFiles {
  /** A regular file, symlinks followed inside the archive (`docker save` wrote such). */
  find(path: string): Entry | undefined
  open(file: Entry): AsyncIterable<Buffer>
}

const SYMLINKS_MAX = 8

export function archiveFiles(store: Store, objects: StagedObjects, tree: Change): ArchiveFiles {
  const findFile = (path: string, hops: number): Entry | undefined => {
    const entry = find(tree, path.split('/').slice(1))?.entry
    if (!entry || isRegularMode(entry.mode)) return entry ?? undefined
    if (!isSymlinkMode(entry.mode) || hops === 0) return undefined
    return findFile(posix.resolve(posix.dirname(path), entry.data), hops - 1)
  }
  return {
    find: path => findFile(posix.resolve('/', fromUser(path)), SYMLINKS_MAX),
    async *open({ digest, data }) {
      if (digest === undefined) yield Buffer.from(data, 'latin1')
      else {
        const path = objects.written.has(digest) ? `${objects.path}/${digest}` : paths.object(store, digest)
        yield* fs.createReadStream(nodePath(path), { highWaterMark: PIECE_BYTES })
      }
    },
  }
}

/** Bytes with the hash that they should have. */
export interface Hashed {
  readonly pieces: AsyncIterable<Buffer>
  /** Reads what is left, and compares. @throws integrity */
  finish(): Promise<void>
}

/** `digest` is as OCI writes them: `sha256:<hex>`. */
export function hashed(pieces: AsyncIterable<Buffer>, digest: string, what: string): Hashed {
  const [algorithm, expected] = digest.split(':')
  const hash = createHash(algorithm)
  async function* through(): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      hash.update(piece)
      yield piece
    }
  }
  const passing = through()
  return {
    pieces: passing,
    async finish() {
      while ((await passing.next()).done !== true);
      const found = hash.digest('hex')
      if (found !== expected)
        throw new StratumError('integrity', `${what} should have the digest ${digest}; it has ${algorithm}:${found}`)
    },
  }
}

const JSON_BYTES_MAX = 8 << 20

/** A JSON file of an archive. @throws malformed, integrity (where a digest is given) */
export async function readJson(files: ArchiveFiles, path: string, digest?: string): Promise<unknown> {
  const file = files.find(path)
  if (file === undefined) throw malformed(`${toUser(path)} is not in the archive`)
  if (file.size > JSON_BYTES_MAX) throw malformed(`${toUser(path)} has ${file.size} bytes, which no such file has`)
  const checked = digest === undefined ? undefined : hashed(files.open(file), digest, toUser(path))
  const pieces: Buffer[] = []
  for await (const piece of checked?.pieces ?? files.open(file)) pieces.push(piece)
  await checked?.finish()
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'))
  } catch (cause) {
    throw malformed(`${toUser(path)} is no JSON: ${(cause as Error).message}`)
  }
}
