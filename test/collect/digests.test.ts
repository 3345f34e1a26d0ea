import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { createArena, type Image } from '../../src/erofs/arena.ts'
import { eachDigest, eachDigestIn, eachObjectFile } from '../../src/erofs/digests.ts'
import { parseImage } from '../../src/erofs/parse-image.ts'
import { createDigestTable } from '../../src/hashes/digest-table.ts'
import { planImage } from '../../src/images/layout.ts'
import { writeImage } from '../../src/images/write-image.ts'
import { emptyImage } from '../../src/tree/append.ts'
import type { Change } from '../../src/tree/entry.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { createRandom } from '../support/random.ts'
import { randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

function imageOf(tree: Change): Image {
  const merged = mergeTree(emptyImage(), tree)
  const layout = planImage(merged)
  const arena = createArena(layout.bytes)
  writeImage(merged, layout, (piece, position) => arena.bytes.set(piece, position))
  return parseImage(arena, layout.bytes)
}

function digestsOf(tree: Change, into = new Set<string>()): Set<string> {
  if (tree.entry?.digest !== undefined) into.add(tree.entry.digest)
  for (const child of tree.children?.values() ?? []) digestsOf(child, into)
  return into
}

test('a table of digests numbers them as they come and finds them again', () => {
  const table = createDigestTable()
  const digests = Array.from({ length: 100_000 }, (_, i) => createHash('sha256').update(String(i)).digest('hex'))
  for (const [i, digest] of digests.entries()) assert.equal(table.addDigest(digest), i)
  for (const i of [0, 1, 32_767, 32_768, 99_999]) {
    assert.equal(table.addDigest(digests[i]), i)
    assert.equal(table.findDigest(digests[i]), i)
    assert.equal(table.digest(i), digests[i])
  }
  assert.equal(table.size, digests.length)
  assert.equal(table.findDigest(createHash('sha256').update('another').digest('hex')), -1)
})

test('digests that begin alike are told apart', () => {
  const table = createDigestTable()
  const digests = Array.from({ length: 500 }, (_, i) => `00000000${i.toString(16).padStart(56, '0')}`)
  for (const digest of digests) table.addDigest(digest)
  assert.deepEqual(
    digests.map(digest => table.findDigest(digest)),
    digests.map((_, i) => i),
  )
})

test('the search in an image finds exactly the digests of the tree, and the walk names their paths', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(40); seed++) {
    const random = createRandom(seed)
    const tree = randomTree(random, random.pick([1, 20, 300]))
    const image = imageOf(tree)
    const [found, walked] = [createDigestTable(), createDigestTable()]
    eachDigest(image, found.add)
    eachObjectFile(image, ({ words, word }) => walked.add(words, word))
    const expected = [...digestsOf(tree)].sort()
    const all = (table: typeof found): string[] => Array.from({ length: table.size }, (_, i) => table.digest(i)).sort()
    assert.deepEqual(all(found), expected, `seed ${seed}`)
    assert.deepEqual(all(walked), expected, `seed ${seed}`)
    const again = createDigestTable()
    eachDigestIn(Buffer.from(image.arena.bytes.subarray(0, image.firstAdded * 32)), again.add)
    assert.deepEqual(all(again), expected, `seed ${seed}`)
  }
})
