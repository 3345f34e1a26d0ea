import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { emptyImage } from '../../src/tree/append.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { dumpOfChange, dumpOfImage, normalizeDump } from '../support/dump.ts'
import { parseBytes, writeToMemory } from '../support/images.ts'
import { oracleDump, oracleImage } from '../support/oracle.ts'
import { createRandom } from '../support/random.ts'
import { applyChanges, randomChanges, randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

const TREES = 2000
const MERGED = 1200
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'images-'))
const reference = path.join(folder, 'reference.cfs')

test('images of random trees are byte for byte what mkcomposefs makes, and read back as composefs-info prints them', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const change = randomTree(random, random.pick([5, 40, 400]))
    const { bytes, digest } = writeToMemory(mergeTree(emptyImage(), change))
    const expected = oracleImage(dumpOfChange(change), reference)
    assert.ok(bytes.equals(fs.readFileSync(reference)), `seed ${seed}: the image differs from mkcomposefs'`)
    assert.equal(digest, expected, `seed ${seed}: the digest differs`)
    assert.equal(
      normalizeDump(dumpOfImage(parseBytes(bytes))),
      normalizeDump(oracleDump(reference)),
      `seed ${seed}: the dump differs`,
    )
  }
})

test('a tree that came from a parent and changes is the tree that was made at once', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(MERGED); seed++) {
    const random = createRandom(seed)
    const before = randomTree(random, random.pick([5, 40, 400]))
    const changes = randomChanges(random, before, random.pick([1, 5, 30]))
    const merged = mergeTree(parseBytes(writeToMemory(mergeTree(emptyImage(), before)).bytes), changes)
    const atOnce = mergeTree(emptyImage(), applyChanges(before, changes))
    assert.deepEqual(hashTree(merged), hashTree(atOnce), `seed ${seed}: the hashes differ`)
    assert.ok(writeToMemory(merged).bytes.equals(writeToMemory(atOnce).bytes), `seed ${seed}: the images differ`)
  }
})
