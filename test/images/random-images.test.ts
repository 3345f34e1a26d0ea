import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { createArena, type Image } from '../../src/erofs/arena.ts'
import { parseImage } from '../../src/erofs/parse-image.ts'
import { planImage } from '../../src/images/layout.ts'
import { writeImage } from '../../src/images/write-image.ts'
import { emptyImage } from '../../src/tree/append.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import type { Tree } from '../../src/tree/tree.ts'
import { dumpOfChange, dumpOfImage, normalizeDump } from '../support/dump.ts'
import { oracleDump, oracleImage } from '../support/oracle.ts'
import { createRandom } from '../support/random.ts'
import { applyChanges, randomChanges, randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

const TREES = 2000
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'images-'))
const reference = path.join(folder, 'reference.cfs')

function imageOf(tree: Tree): { bytes: Buffer; digest: string } {
  const layout = planImage(tree)
  const bytes = Buffer.alloc(layout.bytes)
  const digest = writeImage(tree, layout, (piece, position) => bytes.set(piece, position))
  return { bytes, digest }
}

function parse(bytes: Buffer): Image {
  const arena = createArena(bytes.length)
  arena.bytes.set(bytes)
  return parseImage(arena, bytes.length)
}

test('images of random trees are byte for byte what mkcomposefs makes, and read back as composefs-info prints them', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const change = randomTree(random, random.pick([5, 40, 400]))
    const { bytes, digest } = imageOf(mergeTree(emptyImage(), change))
    const expected = oracleImage(dumpOfChange(change), reference)
    assert.ok(bytes.equals(fs.readFileSync(reference)), `seed ${seed}: the image differs from mkcomposefs'`)
    assert.equal(digest, expected, `seed ${seed}: the digest differs`)
    assert.equal(
      normalizeDump(dumpOfImage(parse(bytes))),
      normalizeDump(oracleDump(reference)),
      `seed ${seed}: the dump differs`,
    )
  }
})

test('a tree that came from a parent and changes is the tree that was made at once', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const before = randomTree(random, random.pick([5, 40, 400]))
    const changes = randomChanges(random, before, random.pick([1, 5, 30]))
    const merged = mergeTree(parse(imageOf(mergeTree(emptyImage(), before)).bytes), changes)
    const atOnce = mergeTree(emptyImage(), applyChanges(before, changes))
    assert.deepEqual(hashTree(merged), hashTree(atOnce), `seed ${seed}: the hashes differ`)
    assert.ok(imageOf(merged).bytes.equals(imageOf(atOnce).bytes), `seed ${seed}: the images differ`)
  }
})
