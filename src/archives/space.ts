import fs from 'node:fs'
import { StratumError } from '../errors/stratum-error.ts'
import { fileSystemSpace } from '../host/files.ts'
import { nodePath, toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { compressionOf, MAGIC_BYTES } from './decompress.ts'
import { zstdContentBytes } from './zstd-frames.ts'

const BEGINNING_BYTES = 32
const GZIP_SIZE_BYTES = 4
/** Deflate makes data at most so many times smaller; what claims more is damaged. */
const DEFLATE_FACTOR_MAX = 1032
const SECTOR = 512

/** @throws no-space if what is in the archive clearly does not fit beside what is in the store */
export function requireSpace(store: Store, path: string): void {
  const needed = leastBytes(path)
  const { freeBytes } = fileSystemSpace(paths.objects(store))
  if (needed <= freeBytes) return
  const [missing, free] = [needed - freeBytes, freeBytes].map(bytes => `${Math.ceil(bytes / 2 ** 20)} MiB`)
  throw new StratumError(
    'no-space',
    `${toUser(path)} does not fit: the store has ${free} left, and ${missing} are missing`,
    {
      hint: 'stratum gc --now makes room. If most of it is in the store already: --ignore-space',
      details: { neededBytes: needed, freeBytes },
    },
  )
}

/** What is in an archive has about so many bytes or more, as far as its size, its header or its end tell without reading it. */
function leastBytes(path: string): number {
  const file = fs.openSync(nodePath(path), 'r')
  try {
    const { size, blocks } = fs.fstatSync(file)
    const beginning = readAt(file, 0, BEGINNING_BYTES)
    return Math.max(Math.min(size, blocks * SECTOR), unpackedBytes(file, size, beginning))
  } finally {
    fs.closeSync(file)
  }
}

/** zstd may say it in its first frame; gzip says the last member's, modulo 4 GiB, at its end. */
function unpackedBytes(file: number, size: number, beginning: Buffer): number {
  const compression = compressionOf(beginning.subarray(0, MAGIC_BYTES))
  if (compression === 'zstd') return zstdContentBytes(beginning) ?? 0
  if (compression === 'none' || size < BEGINNING_BYTES) return 0
  const bytes = readAt(file, size - GZIP_SIZE_BYTES, GZIP_SIZE_BYTES).readUInt32LE()
  return bytes <= size * DEFLATE_FACTOR_MAX ? bytes : 0
}

function readAt(file: number, position: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  return buffer.subarray(0, fs.readSync(file, buffer, 0, bytes, position))
}
