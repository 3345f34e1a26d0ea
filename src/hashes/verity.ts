import { HASH_BYTES, type Hash, hexOf, sha256 } from './sha256.ts'

/**
 * The fs-verity digest of a file: SHA-256, blocks of 4096 bytes, no salt (Linux: Documentation/filesystems/fsverity.rst). It names
 * objects and is what the kernel can enforce.
 */
export type Digest = string

const BLOCK = 4096
const DESCRIPTOR_BYTES = 256

const block = Buffer.alloc(BLOCK)
const descriptor = Buffer.alloc(DESCRIPTOR_BYTES)
descriptor[0] = 1 // version
descriptor[1] = 1 // SHA-256
descriptor[2] = 12 // log2 of the block size

const EMPTY_ROOT: Hash = '\0'.repeat(HASH_BYTES)

/** Hashes the blocks of a file one after the other. All pieces but the last have a multiple of 4096 bytes. */
export interface VerityHasher {
  update(piece: Uint8Array): void
  /** Adds bytes that are all zero without looking at them: a hole. */
  updateZeros(bytes: number): void
  digest(): Digest
}

/** The tree is built as its blocks fill, so that a file of any size takes some kilobytes; runs of zeros take no time. */
export function createVerityHasher(): VerityHasher {
  const levels: Level[] = []
  let size = 0
  const levelAt = (depth: number): Level => (levels[depth] ??= { block: Buffer.allocUnsafe(BLOCK), used: 0 })

  /** A full block goes up only when another hash comes, so that the last one to be left over is the root. */
  const makeRoom = (level: Level, depth: number): void => {
    if (level.used < BLOCK) return
    level.used = 0
    push(depth + 1, sha256(level.block))
  }
  const push = (depth: number, hash: Hash): void => {
    const level = levelAt(depth)
    makeRoom(level, depth)
    level.block.write(hash, level.used, 'latin1')
    level.used += HASH_BYTES
  }
  const pushZeros = (depth: number, count: number): void => {
    const level = levelAt(depth)
    makeRoom(level, depth)
    const fitting = level.used === 0 ? 0 : Math.min(count, (BLOCK - level.used) / HASH_BYTES)
    for (let i = 0; i < fitting; i++) push(depth, zeroHash(depth))
    if (count === fitting) return
    makeRoom(level, depth)
    const whole = Math.floor((count - fitting) / HASHES)
    if (whole > 0) pushZeros(depth + 1, whole)
    for (let i = fitting + whole * HASHES; i < count; i++) push(depth, zeroHash(depth))
  }
  return {
    update(piece) {
      for (let at = 0; at < piece.length; at += BLOCK) push(0, hashBlock(piece, at))
      size += piece.length
    },
    updateZeros(bytes) {
      if (bytes > 0) pushZeros(0, Math.ceil(bytes / BLOCK))
      size += bytes
    },
    digest() {
      if (size === 0) return describe(EMPTY_ROOT, 0)
      for (let depth = 0; ; depth++) {
        const { block, used } = levelAt(depth)
        if (depth === levels.length - 1 && used === HASH_BYTES) return describe(block.toString('latin1', 0, used), size)
        if (used > 0) push(depth + 1, hashBlock(block.subarray(0, used), 0))
      }
    },
  }
}

/** One level of the tree: the block of hashes that is being filled. */
interface Level {
  readonly block: Buffer
  used: number
}

const HASHES = BLOCK / HASH_BYTES
const zeroHashes: Hash[] = []

/** The hash that stands at this depth over nothing but zeros. */
function zeroHash(depth: number): Hash {
  return (zeroHashes[depth] ??= sha256(
    depth === 0 ? Buffer.alloc(BLOCK) : Buffer.from(zeroHash(depth - 1).repeat(HASHES), 'latin1'),
  ))
}

/** The digest of a file whose bytes are all here. */
export function verityOf(data: Uint8Array): Digest {
  if (data.length <= BLOCK) return describe(data.length === 0 ? EMPTY_ROOT : hashBlock(data, 0), data.length)
  const hasher = createVerityHasher()
  hasher.update(data)
  return hasher.digest()
}

/** The digest of a file of `size` bytes from the hashes of its blocks, concatenated. */
export function verityFromLeaves(leaves: Uint8Array, size: number): Digest {
  if (size === 0) return describe(EMPTY_ROOT, 0)
  let level = leaves
  while (level.length > HASH_BYTES) {
    const next = Buffer.allocUnsafe(Math.ceil(level.length / BLOCK) * HASH_BYTES)
    for (let at = 0, to = 0; at < level.length; at += BLOCK, to += HASH_BYTES)
      next.write(hashBlock(level, at), to, 'latin1')
    level = next
  }
  return describe(Buffer.from(level).toString('latin1'), size)
}

/** The hash of the block that begins at `at`; a short last block is filled up with zeros. */
function hashBlock(data: Uint8Array, at: number): Hash {
  if (at + BLOCK <= data.length) return sha256(data.subarray(at, at + BLOCK))
  block.fill(0)
  block.set(data.subarray(at))
  return sha256(block)
}

function describe(root: Hash, size: number): Digest {
  descriptor.writeBigUInt64LE(BigInt(size), 8)
  descriptor.write(root, 16, 'latin1')
  return hexOf(sha256(descriptor))
}
