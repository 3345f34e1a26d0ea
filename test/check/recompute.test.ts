import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureBytes } from '../../src/check/fs-verity.ts'
import { recompute } from '../../src/check/recompute.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { verityOf } from '../../src/hashes/verity.ts'
import { planImage } from '../../src/images/layout.ts'
import { writeImage } from '../../src/images/write-image.ts'
import { emptyImage } from '../../src/tree/append.ts'
import { type Change, PLAIN_DIRECTORY } from '../../src/tree/entry.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { createRandom } from '../support/random.ts'
import { randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

function write(change: Change): { image: Buffer; hashes: ReturnType<typeof hashTree> } {
  const tree = mergeTree(emptyImage(), change)
  const layout = planImage(tree)
  const image = Buffer.alloc(layout.bytes)
  writeImage(tree, layout, (piece, position) => image.set(piece, position))
  return { image, hashes: hashTree(tree) }
}

const nothing = (): undefined => undefined

test('two implementations that share no code agree on the digest of a file of any size', () => {
  const random = createRandom(firstSeed())
  const sizes = [
    0,
    1,
    64,
    4095,
    4096,
    4097,
    128 * 4096,
    128 * 4096 + 1,
    (1 << 20) - 1,
    1 << 20,
    (1 << 20) + 1,
    3_000_000,
  ]
  for (const size of sizes) {
    const bytes = Buffer.from(
      random
        .bytes(Math.min(size, 5000))
        .repeat(Math.ceil(size / 5000))
        .slice(0, size),
      'latin1',
    )
    assert.equal(measureBytes(bytes), verityOf(bytes), `${size} bytes`)
  }
})

test('and on both hashes and all counts of random trees', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(60); seed++) {
    const random = createRandom(seed)
    const { image, hashes } = write(randomTree(random, random.pick([0, 1, 5, 40, 400])))
    assert.deepEqual({ ...recompute(image, nothing) }, { ...hashes }, `seed ${seed}`)
  }
})

test('a byte that is changed anywhere is found, or at least does no harm', () => {
  const random = createRandom(firstSeed())
  const { image, hashes } = write(randomTree(random, 60))
  const outcomes = { refused: 0, other: 0, same: 0 }
  for (let i = 0; i < scaled(4000); i++) {
    const damaged = Buffer.from(image)
    damaged[random.below(image.length)] ^= 1 << random.below(8)
    try {
      outcomes[recompute(damaged, nothing).id === hashes.id ? 'same' : 'other']++
    } catch (error) {
      assert.ok(isStratumError(error, 'integrity'), String((error as Error).stack))
      outcomes.refused++
    }
    assert.notEqual(measureBytes(damaged), measureBytes(image)) // what the tree does not cover, the digest does
  }
  assert.ok(outcomes.refused > 0 && outcomes.other > 0, JSON.stringify(outcomes))
})

test('an image that was cut, or is none, is refused', () => {
  const { image } = write(randomTree(createRandom(firstSeed()), 100))
  const cuts = [0, 1, 1024, 4095, 4096, 8192, image.length - 4096].filter(length => length < image.length)
  for (const length of cuts)
    assert.throws(
      () => recompute(image.subarray(0, length), nothing),
      error => isStratumError(error, 'integrity'),
      `cut to ${length} of ${image.length}`,
    )
  assert.throws(() => recompute(Buffer.alloc(8192), nothing), /no composefs header/)
})

test('a directory that contains itself ends in an error and not in an endless walk', () => {
  const { image } = write({ entry: PLAIN_DIRECTORY, children: new Map([['inner', { entry: { ...PLAIN_DIRECTORY } }]]) })
  const root = image.readUInt16LE(1024 + 14)
  const inner = direntsOf(image).filter(at => ![0, root].includes(image.readUInt32LE(at)))
  assert.ok(inner.length > 0)
  for (const at of inner) {
    const damaged = Buffer.from(image)
    damaged.writeUInt32LE(root, at)
    assert.throws(
      () => recompute(damaged, nothing),
      error => isStratumError(error, 'integrity'),
    )
  }
})

/** Where entries of directories that name directories stand. */
function direntsOf(image: Buffer): number[] {
  const found: number[] = []
  for (let at = 0; at + 12 <= image.length; at += 4) {
    const isDirectory = image[at + 10] === 2 && image[at + 11] === 0 && image.readUInt32LE(at + 4) === 0
    if (isDirectory && image.readUInt32LE(at) * 32 < image.length) found.push(at)
  }
  return found
}
