import { roundUp } from '../erofs/arena.ts'
import { BLOCK } from '../erofs/format.ts'
import { HASH_BYTES, sha256 } from '../hashes/sha256.ts'

/** Writes all of `piece` at this offset of a file. */
export type WriteAt = (piece: Uint8Array, position: number) => void

/** A buffer that moves over a file in ascending order and is written out, and hashed for fs-verity, block by block. */
export interface Window {
  readonly bytes: Buffer
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  /** The index in the buffer of this offset of the file; the following `length` bytes may be written. */
  at(position: number, length: number): number
  /** Writes out what is left, up to this multiple of a block. */
  finish(end: number): void
}

const WINDOW_BYTES = 1 << 21
/** No inode with all it carries is larger than this. */
const LARGEST_BYTES = 1 << 17

/** @param end nothing is put behind this offset: a small file gets no more memory than it needs, for every commit of a daemon takes some */
export function openWindow(start: number, end: number, leaves: Buffer, write: WriteAt): Window {
  let base = start - (start % BLOCK)
  const memory = new ArrayBuffer(Math.min(WINDOW_BYTES + LARGEST_BYTES, roundUp(end - base, BLOCK)))
  const bytes = Buffer.from(memory)
  let used = 0
  const flush = (end: number): void => {
    const whole = end - (end % BLOCK) - base
    for (let at = 0; at < whole; at += BLOCK)
      leaves.write(sha256(bytes.subarray(at, at + BLOCK)), ((base + at) / BLOCK) * HASH_BYTES, 'latin1')
    if (whole > 0) write(bytes.subarray(0, whole), base)
    const rest = Math.max(used - base - whole, 0)
    bytes.copyWithin(0, whole, whole + rest)
    bytes.fill(0, rest, Math.max(used - base, rest))
    base += whole
  }
  return {
    bytes,
    u16: new Uint16Array(memory),
    u32: new Uint32Array(memory),
    at(position, length) {
      if (position + length - base > WINDOW_BYTES) flush(position)
      used = position + length
      return position - base
    },
    finish: flush,
  }
}
