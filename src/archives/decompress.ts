import zlib from 'node:zlib'
import { StratumError } from '../errors/stratum-error.ts'
import { type ByteReader, restOf } from './byte-reader.ts'
import { malformed } from './errors.ts'
import { transformed } from './transform.ts'
import { type FramePart, isZstd, zstdFrames } from './zstd-frames.ts'

export const PIECE_BYTES = 1 << 18
/** Bytes that tell how a file is compressed. */
export const MAGIC_BYTES = 6

const GZIP = Buffer.from([0x1f, 0x8b])
const OTHERS: readonly (readonly [name: string, program: string, magic: Buffer])[] = [
  ['xz', 'xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['bzip2', 'bzip2', Buffer.from('BZh')],
  ['lzip', 'lzip', Buffer.from('LZIP')],
  ['lz4', 'lz4', Buffer.from([0x04, 0x22, 0x4d, 0x18])],
]

export type Compression = 'none' | 'gzip' | 'zstd'

/** How a file is compressed, told by its first bytes. @throws malformed for compressions that are not read here */
export function compressionOf(magic: Buffer): Compression {
  if (isZstd(magic)) return 'zstd'
  if (magic.subarray(0, 2).equals(GZIP)) return 'gzip'
  const other = OTHERS.find(([, , bytes]) => magic.subarray(0, bytes.length).equals(bytes))
  if (other === undefined) return 'none'
  const [name, program] = other
  throw malformed(
    `the archive is compressed with ${name}, which is not read here`,
    `${program} -dc <archive> | stratum import - --label <label>`,
  )
}

/** The bytes without their compression, whatever it is, up to the last. @throws malformed where they are cut, damaged or followed by others */
export async function* decompressed(input: ByteReader): AsyncGenerator<Buffer> {
  const compression = compressionOf(await input.peek(MAGIC_BYTES))
  try {
    if (compression === 'none') yield* restOf(input)
    else if (compression === 'gzip') yield* gunzip(input)
    else yield* unzstd(input)
  } catch (error) {
    throw explain(error, compression)
  }
}

/** Frames of which little comes out are unpacked at once: some writers make one for every file, and an engine of its own takes a while to make. */
const AT_ONCE_BYTES = 1 << 20

async function* unzstd(input: ByteReader): AsyncGenerator<Buffer> {
  for await (const frame of zstdFrames(input)) {
    const first = (await frame.next()).value as FramePart
    if (first.isLast && first.contentBytesMax <= AT_ONCE_BYTES) yield zlib.zstdDecompressSync(first.bytes)
    else yield* transformed(bytesOf(first, frame), zlib.createZstdDecompress({ chunkSize: PIECE_BYTES }))
  }
}

async function* bytesOf(first: FramePart, rest: AsyncIterable<FramePart>): AsyncGenerator<Buffer> {
  yield first.bytes
  for await (const { bytes } of rest) yield bytes
}

/**
 * Node goes on from member to member by itself, but at a zero byte where a member should begin it ends without a word, whatever comes
 * behind it. So what it left is looked at here: zeros fill up a tape block, anything else is not part of the archive.
 */
async function* gunzip(input: ByteReader): AsyncGenerator<Buffer> {
  const engine = zlib.createGunzip({ chunkSize: PIECE_BYTES })
  const start = input.position()
  const unread: Buffer[] = []
  let readUpTo = 0
  async function* pieces(): AsyncGenerator<Buffer> {
    for await (const piece of restOf(input)) {
      for (; unread.length > 0 && readUpTo + unread[0].length <= engine.bytesWritten; unread.shift())
        readUpTo += unread[0].length
      unread.push(piece)
      yield piece
    }
  }
  yield* transformed(pieces(), engine)
  const end = start + engine.bytesWritten
  const left = Buffer.concat(unread).subarray(engine.bytesWritten - readUpTo)
  let clean = isZero(left)
  for await (const piece of restOf(input)) clean &&= isZero(piece)
  if (!clean) throw malformed(`there is something behind the end of the gzip data, at byte ${end}`)
}

const ZEROS = Buffer.alloc(1 << 16)

export function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length)
    if (!piece.equals(ZEROS.subarray(0, piece.length))) return false
  }
  return true
}

/** What zlib and zstd throw, in words. */
function explain(error: unknown, compression: Compression): unknown {
  const { code, message } = error as { code?: string; message: string }
  if (error instanceof StratumError || !/^(Z_|ZSTD_)/.test(code ?? '')) return error
  if (code === 'Z_BUF_ERROR') return malformed(`the ${compression} data end in the middle: the archive was cut`)
  if (code === 'ZSTD_error_frameParameter_windowTooLarge')
    return malformed(
      'the zstd data need a window of more than 128 MiB',
      'zstd -d --long=31 -c <archive> | stratum import - --label <label>',
    )
  return malformed(`the ${compression} data are damaged: ${message}`)
}
