import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createMerkleTree, treeDepth } from '../../src/hashes/merkle.ts'
import { hexOf, sha256 } from '../../src/hashes/sha256.ts'

/** The leaves and roots that the tests of Certificate Transparency use (github.com/google/certificate-transparency, merkle_tree_test). */
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f']
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]

function leafOf(data: Buffer): string {
  return sha256(Buffer.concat([Buffer.from([0]), data]))
}

function rootOf(leaves: readonly Buffer[]): string {
  const tree = createMerkleTree()
  for (const leaf of leaves) tree.add(leafOf(leaf))
  assert.equal(tree.leaves(), leaves.length)
  return hexOf(tree.root())
}

/** RFC 6962, section 2.1, word for word. */
function definition(leaves: readonly Buffer[]): Buffer {
  const hash = (...parts: Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest()
  if (leaves.length === 0) return hash()
  if (leaves.length === 1) return hash(Buffer.from([0]), leaves[0])
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return hash(Buffer.from([1]), definition(leaves.slice(0, k)), definition(leaves.slice(k)))
}

test('roots are those of the known vectors', () => {
  const leaves = LEAVES.map(hex => Buffer.from(hex, 'hex'))
  ROOTS.forEach((root, count) => assert.equal(rootOf(leaves.slice(0, count)), root, `${count} leaves`))
})

test('a tree built leaf by leaf is the tree of the definition, and asking for its root changes nothing', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 5 }), { maxLength: 200 }), data => {
      const leaves = data.map(bytes => Buffer.from(bytes))
      assert.equal(rootOf(leaves), definition(leaves).toString('hex'))
      const tree = createMerkleTree()
      for (const leaf of leaves) {
        tree.root()
        tree.add(leafOf(leaf))
      }
      assert.equal(hexOf(tree.root()), rootOf(leaves))
    }),
    { numRuns: 40 },
  )
})

test('the depth is the number of levels above the leaves', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 8, 9, 1023, 1024, 1025, 1523].map(treeDepth),
    [0, 0, 1, 2, 2, 3, 3, 4, 10, 10, 11, 11],
  )
  assert.equal(treeDepth(2 ** 31), 31)
  assert.equal(treeDepth(2 ** 31 + 1), 32)
})
