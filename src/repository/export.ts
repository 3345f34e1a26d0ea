import fs from 'node:fs'
import os from 'node:os'
import { compressed } from '../archives/compress.ts'
import { COMPRESSION_OF, type ExportFormat } from '../archives/formats.ts'
import { writeImageArchive } from '../archives/write-image-archive.ts'
import { tarBytes, type TarWriting } from '../archives/write-tar.ts'
import { readCommit } from '../commits/commit-store.ts'
import { openCommitImage } from '../commits/open-image.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import type { Image } from '../erofs/arena.ts'
import { SLOT } from '../erofs/format.ts'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { close } from '../host/descriptors.ts'
import { writeAll } from '../host/files.ts'
import { createOutputFile, createUnnamedFile } from '../host/output-file.ts'
import { isRegularMode, statIfExists } from '../host/stat.ts'
import { shortId } from '../names/commit-id.ts'
import type { Reference } from '../names/reference.ts'
import { fromUser, toUser } from '../names/text.ts'
import { type Resolved, resolveCommit } from '../refs/resolve.ts'
import { lockStore } from '../store/locks.ts'
import { type Context, lockOptions } from './context.ts'

export interface ExportRequest {
  readonly reference: Reference
  /** Absolute, latin1; or where the bytes go one after the other. */
  readonly target: string | ((bytes: Uint8Array) => Promise<void>)
  readonly format: ExportFormat
  /** Replace a file that is there. */
  readonly force: boolean
}

export interface ExportResult {
  readonly resolved: Resolved
  readonly metadata: CommitMetadata
  /** Bytes of the file. */
  readonly written: number
  /** Paths that the format cannot hold, latin1. */
  readonly leftOut: readonly string[]
}

/** Writes a commit to a file, which is there whole or not at all. @throws not-found, exists, integrity, no-space */
export async function exportCommit(context: Context, request: ExportRequest): Promise<ExportResult> {
  const { store } = context
  const { reference, target, force } = request
  using _lock = await lockStore(store, 'shared', lockOptions(context))
  const resolved = resolveCommit(store, reference)
  const metadata = readCommit(store, resolved.id)
  if (typeof target === 'string') requireTarget(target, force)
  try {
    const exporting = { ...request, resolved, image: openCommitImage(store, resolved.id) }
    return { resolved, metadata, ...(await (typeof target === 'string' ? toFile : toStream)(context, exporting)) }
  } catch (error) {
    if (typeof target === 'string' && isErrno(error, 'EEXIST')) throw targetExists(target)
    throw toStratumError(error, `exporting ${resolved.label}:${resolved.tag ?? shortId(resolved.id)}`)
  }
}

interface Exporting extends ExportRequest {
  readonly resolved: Resolved
  readonly image: Image
}

type Written = Pick<ExportResult, 'written' | 'leftOut'>

async function toFile(context: Context, exporting: Exporting): Promise<Written> {
  const { target, force } = exporting
  using file = createOutputFile(target as string, { replace: force })
  const result = await writeTo(file.descriptor, context, exporting)
  file.publish()
  return result
}

async function writeTo(descriptor: number, context: Context, exporting: Exporting): Promise<Written> {
  if (exporting.format === 'oci') return writeImage(descriptor, context, exporting)
  return writeInOrder(context, exporting, async bytes => writeAll(descriptor, bytes))
}

async function toStream(context: Context, exporting: Exporting): Promise<Written> {
  const write = exporting.target as (bytes: Uint8Array) => Promise<void>
  if (exporting.format !== 'oci') return writeInOrder(context, exporting, write)
  // The name of the layer stands before it and is known behind it: a pipe cannot go back.
  const spool = createUnnamedFile(fromUser(os.tmpdir()))
  try {
    const result = await writeImage(spool, context, exporting)
    await copy(spool, write)
    return result
  } finally {
    close(spool)
  }
}

async function writeInOrder(
  context: Context,
  { format, image }: Exporting,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<Written> {
  const tar = tarWriting(context, image)
  const pieces =
    format === 'cfs' || format === 'oci' ? imageBytes(image) : compressed(tarBytes(tar), COMPRESSION_OF[format])
  let written = 0
  for await (const piece of pieces) {
    await write(piece)
    written += piece.length
  }
  return { written, leftOut: tar.leftOut }
}

async function writeImage(descriptor: number, context: Context, { image, resolved }: Exporting): Promise<Written> {
  const tar = tarWriting(context, image)
  const written = await writeImageArchive({
    layer: tarBytes(tar),
    id: resolved.id,
    name: `${resolved.label}:${resolved.tag ?? shortId(resolved.id)}`,
    write: (bytes, position) => writeAll(descriptor, bytes, position),
  })
  return { written, leftOut: tar.leftOut }
}

function tarWriting({ store, signal, onProgress }: Context, image: Image): TarWriting & { leftOut: string[] } {
  const done = { stage: 'writing', files: 0, bytes: 0 }
  const onFile = (bytes: number): void => {
    done.files++
    done.bytes += bytes
    onProgress?.(done)
  }
  return { store, image, signal, onFile, leftOut: [] }
}

function* imageBytes(image: Image): Generator<Uint8Array> {
  yield image.arena.bytes.subarray(0, image.firstAdded * SLOT)
}

const PIECE_BYTES = 1 << 20

async function copy(descriptor: number, write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const piece = Buffer.alloc(PIECE_BYTES)
  for (let position = 0; ; ) {
    const length = fs.readSync(descriptor, piece, 0, PIECE_BYTES, position)
    if (length === 0) return
    await write(piece.subarray(0, length))
    position += length
  }
}

function requireTarget(target: string, force: boolean): void {
  const stat = statIfExists(target)
  if (stat === undefined) return
  if (!isRegularMode(stat.mode))
    throw new StratumError('usage', `${toUser(target)} is there and is no regular file`, {
      hint: 'To write into a pipe: stratum export <label:tag> - --format tar',
    })
  if (!force) throw targetExists(target)
}

function targetExists(target: string): StratumError {
  return new StratumError('exists', `${toUser(target)} exists`, { hint: 'Take another name, or replace it: --force' })
}
