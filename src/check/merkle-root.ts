import crypto from 'node:crypto'

const HASH = 32
const [LEAF, NODE, ROOT] = [0, 1, 2].map(prefix => Buffer.from([prefix]))

/** The Merkle tree hash of RFC 6962 2.1, from the top down as it is defined there. `leaves` are leaf hashes one behind the other. */
export function merkleTreeHash(leaves: Buffer): Buffer {
  const count = leaves.length / HASH
  if (count === 0) return crypto.createHash('sha256').digest()
  if (count === 1) return leaves
  let left = 1
  while (left * 2 < count) left *= 2
  return crypto
    .createHash('sha256')
    .update(NODE)
    .update(merkleTreeHash(leaves.subarray(0, left * HASH)))
    .update(merkleTreeHash(leaves.subarray(left * HASH)))
    .digest()
}

export function leafHash(entry: Buffer): Buffer {
  return crypto.createHash('sha256').update(LEAF).update(entry).digest()
}

/** The trees of files and directories bound together (docs/format.md 3). Hexadecimal. */
export function bindRoots(files: Buffer, directories: Buffer): string {
  const hash = crypto.createHash('sha256').update(ROOT).update('stratum-root-v1\0')
  for (const leaves of [files, directories]) {
    const count = Buffer.alloc(8)
    count.writeBigUInt64BE(BigInt(leaves.length / HASH))
    hash.update(count).update(merkleTreeHash(leaves))
  }
  return hash.digest('hex')
}
