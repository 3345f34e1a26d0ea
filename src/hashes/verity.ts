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

const ZERO_BLOCK = sha256(block)
const EMPTY_ROOT: Hash = '\0'.repeat(HASH_BYTES)

/** Hashes the blocks of a file one after the other. All pieces but the last have a multiple of 4096 bytes. */
export interface VerityHasher {
  update(piece: Uint8Array): void
  /** Adds bytes that are all zero without looking at them: a hole. */
  updateZeros(bytes: number): void
  digest(): Digest
}

export function createVerityHasher(): VerityHasher {
  let leaves = Buffer.allocUnsafe(HASH_BYTES * 64)
  let used = 0
  let size = 0
  const push = (hash: Hash): void => {
    if (used === leaves.length) leaves = Buffer.concat([leaves, Buffer.allocUnsafe(leaves.length)])
    leaves.write(hash, used, 'latin1')
    used += HASH_BYTES
  }
  return {
    update(piece) {
      for (let at = 0; at < piece.length; at += BLOCK) push(hashBlock(piece, at))
      size += piece.length
    },
    updateZeros(bytes) {
      for (let at = 0; at < bytes; at += BLOCK) push(ZERO_BLOCK)
      size += bytes
    },
    digest: () => verityFromLeaves(leaves.subarray(0, used), size),
  }
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
