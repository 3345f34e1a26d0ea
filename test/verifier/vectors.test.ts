import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { emptyImage } from '../../src/tree/append.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { changeOfDump, dumpOfChange, normalizeDump } from '../support/dump.ts'
import { writeToMemory } from '../support/images.ts'
import { oracleImage } from '../support/oracle.ts'
import { createRandom } from '../support/random.ts'
import { randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { entriesOfDump, verifyDump } from '../support/verifier.ts'

const TREES = 60
const PAGE = path.resolve(import.meta.dirname, '../../docs/format.md')
const reference = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'vectors-')), 'reference.cfs')

interface Vector {
  readonly title: string
  readonly dump: string
  readonly entries: readonly string[]
  readonly hashes: Readonly<Record<string, string>>
}

/** The vectors of docs/format.md 6: of each a block with a dump, perhaps entries, and hashes by name, parted by empty lines. */
function readVectors(): Vector[] {
  const section = fs.readFileSync(PAGE, 'utf8').split('\n## 6 ')[1]
  return section
    .split('\n### ')
    .slice(1)
    .map(text => {
      const parts = (/```text\n([^]*?)\n```/.exec(text)?.[1] ?? '').split('\n\n')
      const hashes = parts[parts.length - 1].split('\n').map(line => line.split(/ +/))
      return {
        title: text.split('\n')[0],
        dump: `${parts[0]}\n`,
        entries: parts.length === 3 ? parts[1].split('\n') : [],
        hashes: Object.fromEntries(hashes) as Record<string, string>,
      }
    })
}

const vectors = readVectors()

test('the page has vectors with all hashes', () => {
  assert.ok(vectors.length >= 4)
  assert.ok(vectors.filter(({ entries }) => entries.length > 0).length >= 2)
  for (const { hashes } of vectors) assert.deepEqual(Object.keys(hashes), ['id', 'merkle_root', 'image_digest'])
})

for (const { title, dump, entries, hashes } of vectors) {
  test(`vector ${title} is what the verifier, Stratum and mkcomposefs compute`, () => {
    const { id, merkle_root, image_digest } = verifyDump(dump)
    assert.deepEqual({ id, merkle_root, image_digest }, hashes)
    const tree = mergeTree(emptyImage(), changeOfDump(dump))
    const own = hashTree(tree)
    const ownHashes = { id: own.id, merkle_root: own.merkleRoot, image_digest: writeToMemory(tree).digest }
    assert.deepEqual(ownHashes, hashes)
    assert.equal(oracleImage(dump, reference), hashes.image_digest)
    if (entries.length === 0) return
    assert.deepEqual(entriesOfDump(dump), entries)
    const commit = createHash('sha256')
      .update('stratum-commit-v1\0')
      .update(Buffer.from(entries.join(''), 'hex'))
    assert.equal(commit.digest('hex'), hashes.id)
  })
}

test('a tree read from a dump is the tree that the dump was made of', () => {
  for (let seed = firstSeed(); seed < firstSeed() + 20; seed++) {
    const dump = dumpOfChange(randomTree(createRandom(seed), 40))
    assert.equal(normalizeDump(dumpOfChange(changeOfDump(dump))), normalizeDump(dump), `seed ${seed}`)
  }
})

test('random trees have the same hashes and images by the verifier and by Stratum', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const change = randomTree(random, random.pick([5, 40, 400]))
    const tree = mergeTree(emptyImage(), change)
    const { bytes, digest } = writeToMemory(tree)
    const verified = verifyDump(dumpOfChange(change))
    const { id, merkleRoot, files, directories } = hashTree(tree)
    assert.ok(bytes.equals(verified.image), `seed ${seed}: the images differ`)
    assert.deepEqual(
      { id, merkle_root: merkleRoot, files, directories, image_digest: digest },
      {
        id: verified.id,
        merkle_root: verified.merkle_root,
        files: verified.files,
        directories: verified.directories,
        image_digest: verified.image_digest,
      },
      `seed ${seed}`,
    )
  }
})
