import { HASH_BYTES, type Hash, sha256 } from './sha256.ts'

/** A Merkle tree as RFC 6962 section 2.1 defines it, built leaf by leaf in memory for one hash a level. */
export interface MerkleTree {
  /** Adds the hash of a leaf, which the caller has made as SHA-256(0x00, entry). */
  add(leaf: Hash): void
  leaves(): number
  root(): Hash
}

const node = Buffer.alloc(1 + 2 * HASH_BYTES)
node[0] = 0x01

export function createMerkleTree(): MerkleTree {
  const full: (Hash | undefined)[] = [] // full[i] is the root of a complete subtree of 2 ** i leaves that still waits for its right neighbour
  let leaves = 0
  return {
    add(leaf) {
      let hash = leaf
      let level = 0
      for (let left = full[0]; left !== undefined; left = full[level]) {
        hash = join(left, hash)
        full[level++] = undefined
      }
      full[level] = hash
      leaves++
    },
    leaves: () => leaves,
    root() {
      let hash: Hash | undefined
      for (const left of full) if (left !== undefined) hash = hash === undefined ? left : join(left, hash)
      return hash ?? sha256(Buffer.alloc(0))
    },
  }
}

function join(left: Hash, right: Hash): Hash {
  node.write(left, 1, 'latin1')
  node.write(right, 1 + HASH_BYTES, 'latin1')
  return sha256(node)
}

/** Levels above the leaves: 0 for none or one, else ceil(log2(leaves)). */
export function treeDepth(leaves: number): number {
  return leaves <= 1 ? 0 : 32 - Math.clz32(leaves - 1)
}
