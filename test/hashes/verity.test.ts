import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createVerityHasher, verityFromLeaves, verityOf } from '../../src/hashes/verity.ts'
import { sha256 } from '../../src/hashes/sha256.ts'

const BLOCK = 4096
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'verity-'))

/** What the program of the fs-verity tools says, which is what a kernel would compute. */
function digestOfTool(name: string): string {
  return execFileSync('fsverity', ['digest', '--compact', name], { encoding: 'utf8' }).trim()
}

/** Bytes in which no two blocks are equal. */
function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size, 'fs-verity has blocks of 4096 bytes')
  for (let at = 0; at + 4 <= size; at += BLOCK) bytes.writeUInt32LE(at / BLOCK + 1, at)
  return bytes
}

test('the digest of nothing and of one byte are the known ones', () => {
  assert.equal(verityOf(Buffer.alloc(0)), '3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95')
  assert.equal(verityOf(Buffer.from('hello\n')), '9c76eecc7b76fcb46199cb27b90cf59a660e10575bb0412128905129d5b1c2aa')
})

test('digests are those of the fsverity program, around every edge of blocks and levels', () => {
  const level = BLOCK * 128
  const sizes = [0, 1, 31, 64, BLOCK, 2 * BLOCK, level, 2 * level, 32 * level].flatMap(size => [
    size - 1,
    size,
    size + 1,
  ])
  const file = path.join(folder, 'file')
  for (const size of new Set(sizes.filter(size => size >= 0))) {
    const bytes = bytesOf(size)
    fs.writeFileSync(file, bytes)
    assert.equal(verityOf(bytes), digestOfTool(file), `${size} bytes`)
  }
})

test('a hasher gives the same digest however the bytes are cut into whole blocks', () => {
  const pieces = fc.array(fc.integer({ min: 0, max: 140 }), { maxLength: 6 })
  fc.assert(
    fc.property(pieces, fc.integer({ min: 0, max: BLOCK - 1 }), (blocks, rest) => {
      const all = bytesOf(blocks.reduce((sum, count) => sum + count * BLOCK, 0) + rest)
      const hasher = createVerityHasher()
      let at = 0
      for (const count of blocks) hasher.update(all.subarray(at, (at += count * BLOCK)))
      hasher.update(all.subarray(at))
      assert.equal(hasher.digest(), verityOf(all))
    }),
    { numRuns: 60 },
  )
})

test('zeros that are not looked at count like zeros, between data and at the end', () => {
  const run = fc.record({ zeros: fc.boolean(), blocks: fc.integer({ min: 0, max: 300 }) })
  fc.assert(
    fc.property(
      fc.array(run, { maxLength: 6 }),
      fc.integer({ min: 0, max: BLOCK - 1 }),
      fc.boolean(),
      (runs, rest, ends) => {
        const hasher = createVerityHasher()
        const all: Buffer[] = []
        const add = (zeros: boolean, bytes: number): void => {
          all.push(zeros ? Buffer.alloc(bytes) : bytesOf(bytes))
          if (zeros) hasher.updateZeros(bytes)
          else hasher.update(all[all.length - 1])
        }
        for (const { zeros, blocks } of runs) add(zeros, blocks * BLOCK)
        add(ends, rest)
        assert.equal(hasher.digest(), verityOf(Buffer.concat(all)))
      },
    ),
    { numRuns: 60 },
  )
})

test('a large sparse file has the digest of the fsverity program', () => {
  const file = path.join(folder, 'sparse')
  const size = 130 * 128 * BLOCK + 5 // three levels
  fs.writeFileSync(file, 'begin')
  fs.truncateSync(file, size)
  const hasher = createVerityHasher()
  hasher.update(Buffer.alloc(BLOCK, 0).fill('begin', 0, 5))
  hasher.updateZeros(size - BLOCK)
  assert.equal(hasher.digest(), digestOfTool(file))
})

test('the digest from the hashes of blocks is that of the bytes', () => {
  for (const size of [0, 1, BLOCK, BLOCK + 1, BLOCK * 128, BLOCK * 128 + 1, BLOCK * 129]) {
    const bytes = bytesOf(size)
    const leaves: Buffer[] = []
    for (let at = 0; at < size; at += BLOCK) {
      const block = Buffer.alloc(BLOCK)
      bytes.copy(block, 0, at)
      leaves.push(Buffer.from(sha256(block), 'latin1'))
    }
    assert.equal(verityFromLeaves(Buffer.concat(leaves), size), verityOf(bytes), `${size} bytes`)
  }
})
