import crypto from 'node:crypto'

/**
 * The fs-verity digest of a file once more, level by level as the kernel's documentation describes it (fsverity.rst, "Merkle tree" and
 * "fs-verity descriptor"): what checks the store shares no code with what fills it.
 */
const BLOCK = 4096
const HASH = 32
const PIECE = 1 << 20
const DESCRIPTOR = 256

/** Reads at an offset until the buffer is full or the file ends; returns the bytes. */
export type ReadAt = (into: Buffer, position: number) => number

/** @throws RangeError where the file has fewer bytes than `size` */
export function measure(size: number, readAt: ReadAt): string {
  const piece = Buffer.allocUnsafe(Math.min(PIECE, size))
  const leaves: Buffer[] = []
  for (let at = 0; at < size; at += PIECE) {
    const wanted = piece.subarray(0, Math.min(PIECE, size - at))
    const read = readAt(wanted, at)
    if (read !== wanted.length) throw new RangeError(`only ${at + read} of ${size} bytes can be read`)
    leaves.push(hashBlocks(wanted))
  }
  let level: Buffer = Buffer.concat(leaves)
  while (level.length > HASH) level = hashBlocks(level)
  return describe(size, level)
}

/** The digest of bytes that are all here. */
export function measureBytes(bytes: Buffer): string {
  return measure(bytes.length, (into, position) => bytes.copy(into, 0, position))
}

function hashBlocks(bytes: Buffer): Buffer {
  const hashes = Buffer.allocUnsafe(Math.ceil(bytes.length / BLOCK) * HASH)
  for (let at = 0, to = 0; at < bytes.length; at += BLOCK, to += HASH) {
    const hash = crypto.createHash('sha256').update(bytes.subarray(at, at + BLOCK))
    if (at + BLOCK > bytes.length) hash.update(Buffer.alloc(at + BLOCK - bytes.length))
    hash.digest().copy(hashes, to)
  }
  return hashes
}

function describe(size: number, root: Buffer): string {
  const descriptor = Buffer.alloc(DESCRIPTOR)
  descriptor.set([1, 1, 12]) // version, SHA-256, log2 of the block size; no salt
  descriptor.writeBigUInt64LE(BigInt(size), 8)
  root.copy(descriptor, 16)
  return crypto.createHash('sha256').update(descriptor).digest('hex')
}
