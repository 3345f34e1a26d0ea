import { HASH_BYTES } from '../hashes/sha256.ts'

/** Puts big-endian, length-prefixed fields one behind the other into a buffer that is emptied from time to time. */
export interface EntryWriter {
  chunk: Buffer
  /** Bytes in use. Byte 0 is none of an entry's: it is lent to the prefix of the first leaf. */
  used: number
}

const CHUNK_BYTES = 1 << 18

export function createEntryWriter(): EntryWriter {
  return { chunk: Buffer.alloc(CHUNK_BYTES), used: 1 }
}

/** Makes room for so many bytes; what is there is handed to `flush` first where it has to go. */
export function reserve(writer: EntryWriter, bytes: number, flush: (entries: Uint8Array) => void): void {
  if (writer.used + bytes <= writer.chunk.length) return
  flush(writer.chunk.subarray(1, writer.used))
  writer.used = 1
  if (bytes + 1 > writer.chunk.length) writer.chunk = Buffer.alloc(bytes * 2)
}

export function putByte(writer: EntryWriter, value: number): void {
  writer.chunk[writer.used++] = value
}

export function putU32(writer: EntryWriter, value: number): void {
  const { chunk, used } = writer
  chunk[used] = value >>> 24
  chunk[used + 1] = value >>> 16
  chunk[used + 2] = value >>> 8
  chunk[used + 3] = value
  writer.used = used + 4
}

/** A whole number of 64 bits; a negative one in two's complement. */
export function putU64(writer: EntryWriter, value: number): void {
  putU32(writer, Math.floor(value / 2 ** 32))
  putU32(writer, value)
}

export function putZeros(writer: EntryWriter, bytes: number): void {
  writer.chunk.fill(0, writer.used, writer.used + bytes)
  writer.used += bytes
}

/** Copies bytes without a length before them. A loop is faster than `copy` for the short runs that names are. */
export function putBytes(writer: EntryWriter, from: Uint8Array, at: number, length: number): void {
  const { chunk, used } = writer
  if (length > 64) chunk.set(from.subarray(at, at + length), used)
  else for (let i = 0; i < length; i++) chunk[used + i] = from[at + i]
  writer.used = used + length
}

/** Text of latin1 characters with its length before it. */
export function putText(writer: EntryWriter, text: string): void {
  putU32(writer, text.length)
  writer.used += writer.chunk.write(text, writer.used, 'latin1')
}

export function putDigest(writer: EntryWriter, from: Uint8Array, at: number): void {
  putU32(writer, HASH_BYTES)
  putBytes(writer, from, at, HASH_BYTES)
}
