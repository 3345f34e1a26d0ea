import type { ByteReader } from './byte-reader.ts'
import { malformed } from './errors.ts'

/**
 * Finds where zstd frames begin and end (RFC 8878), because Node's decompressor stops without a word after the first one. Only lengths
 * are read here.
 */
const FRAME = 0xfd2fb528
const SKIPPABLE = 0x184d2a50
const SKIPPABLE_MASK = 0xfffffff0
const HEADER_BYTES_MAX = 18
const BLOCK_HEADER_BYTES = 3
const BLOCK_BYTES_MAX = 1 << 17
const CHECKSUM_BYTES = 4
const RLE_BLOCK = 1
const RESERVED_BLOCK = 3
const DICTIONARY_BYTES: readonly number[] = [0, 1, 2, 4]
/** Blocks are handed on together: one that is a run of a byte has four bytes. */
const BATCH_BYTES = 1 << 17

export function isZstd(magic: Buffer): boolean {
  return isFrame(magic) || isSkippable(magic)
}

function isFrame(magic: Buffer): boolean {
  return magic.length >= 4 && magic.readUInt32LE() === FRAME
}

function isSkippable(magic: Buffer): boolean {
  return magic.length >= 4 && (magic.readUInt32LE() & SKIPPABLE_MASK) >>> 0 === SKIPPABLE
}

/** Whole blocks of a frame, the first ones with its header. */
export interface FramePart {
  readonly bytes: Buffer
  /** What comes out of it has at most so many bytes. */
  readonly contentBytesMax: number
  /** It ends the frame. */
  readonly isLast: boolean
}

/** Each frame that holds data, which has to be read to its end before the next. @throws malformed (cut; something else in between) */
export async function* zstdFrames(input: ByteReader): AsyncGenerator<AsyncGenerator<FramePart>> {
  for (;;) {
    const magic = await input.peek(4)
    if (magic.length === 0) return
    if (isFrame(magic)) yield frameParts(input)
    else if (isSkippable(magic)) await skipFrame(input)
    else throw malformed(`there is something behind the end of the zstd data, at byte ${input.position()}`)
  }
}

async function* frameParts(input: ByteReader): AsyncGenerator<FramePart> {
  const { headerBytes, hasChecksum } = frameHeader(await input.peek(HEADER_BYTES_MAX))
  let batch: Buffer[] = [await exactly(input, headerBytes)]
  let batchBytes = 0
  let contentBytesMax = 0
  for (let last = false; !last; ) {
    const header = await exactly(input, BLOCK_HEADER_BYTES)
    const number = header.readUIntLE(0, 3)
    const type = (number >> 1) & 3
    const size = number >> 3
    last = (number & 1) === 1
    if (type === RESERVED_BLOCK || size > BLOCK_BYTES_MAX)
      throw malformed(`the zstd data are damaged: no block begins at byte ${input.position() - BLOCK_HEADER_BYTES}`)
    const body = await exactly(input, type === RLE_BLOCK ? 1 : size)
    batch.push(header, body)
    batchBytes += BLOCK_HEADER_BYTES + body.length
    contentBytesMax += BLOCK_BYTES_MAX
    if (batchBytes < BATCH_BYTES && !last) continue
    if (last && hasChecksum) batch.push(await exactly(input, CHECKSUM_BYTES))
    yield { bytes: Buffer.concat(batch), contentBytesMax, isLast: last }
    batch = []
    batchBytes = contentBytesMax = 0
  }
}

interface FrameHeader {
  readonly headerBytes: number
  readonly hasChecksum: boolean
  /** Bytes that come out of the frame, where it says so. */
  readonly contentBytes: number | undefined
}

/** RFC 8878, 3.1.1.1. */
function frameHeader(bytes: Buffer): FrameHeader {
  const descriptor = bytes[4] ?? 0
  const sizeFlag = descriptor >> 6
  const isSingleSegment = (descriptor & 0x20) !== 0
  const sizeAt = 5 + (isSingleSegment ? 0 : 1) + DICTIONARY_BYTES[descriptor & 3]
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag
  const field = bytes.subarray(sizeAt, sizeAt + sizeBytes)
  let content = sizeFlag === 1 ? 256 : 0
  for (const [i, byte] of field.entries()) content += byte * 2 ** (8 * i)
  return {
    headerBytes: sizeAt + sizeBytes,
    hasChecksum: (descriptor & 4) !== 0,
    contentBytes: sizeBytes > 0 && field.length === sizeBytes ? content : undefined,
  }
}

/** The bytes that the frame at the beginning of a file holds, where its header says so. */
export function zstdContentBytes(beginning: Buffer): number | undefined {
  return isFrame(beginning) ? frameHeader(beginning.subarray(0, HEADER_BYTES_MAX)).contentBytes : undefined
}

async function skipFrame(input: ByteReader): Promise<void> {
  const header = await exactly(input, 8)
  for (let left = header.readUInt32LE(4); left > 0; ) {
    const piece = await input.some(left)
    if (piece.length === 0) throw cut()
    left -= piece.length
  }
}

async function exactly(input: ByteReader, bytes: number): Promise<Buffer> {
  const taken = await input.take(bytes)
  if (taken.length < bytes) throw cut()
  return taken
}

function cut(): Error {
  return malformed('the zstd data end in the middle: the archive was cut')
}
