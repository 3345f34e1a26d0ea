import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { createVerityHasher } from '../../src/hashes/verity.ts'
import { createObjectFile } from '../../src/objects/object-file.ts'
import { openStagedObjects } from '../../src/objects/staged-objects.ts'
import { paths } from '../../src/store/layout.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createRandom } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

const BLOCK = 4096
const FILES = 120
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'verity-'))

/** What fsverity-utils say of a file. */
function oracle(file: string): string {
  return execFileSync('fsverity', ['digest', '--compact', file], { encoding: 'utf8' }).trim()
}

test('data and holes in any order hash to what fsverity says of the file', () => {
  const file = path.join(folder, 'file')
  for (let seed = firstSeed(); seed < firstSeed() + scaled(FILES); seed++) {
    const random = createRandom(seed)
    const hasher = createVerityHasher()
    const descriptor = fs.openSync(file, 'w')
    let size = 0
    for (let pieces = random.below(6); pieces >= 0; pieces--) {
      const whole = random.pick([0, 1, 2, 127, 128, 129, 300, 16_384, 16_385]) * BLOCK
      const bytes = pieces === 0 ? whole + random.below(BLOCK) : whole
      if (random.chance(0.5)) hasher.updateZeros(bytes)
      else {
        const data = Buffer.alloc(Math.min(bytes, 300 * BLOCK), random.bytes(100), 'latin1')
        hasher.update(data)
        fs.writeSync(descriptor, data, 0, data.length, size)
        size += data.length - bytes
      }
      size += bytes
    }
    fs.ftruncateSync(descriptor, size)
    fs.closeSync(descriptor)
    assert.equal(hasher.digest(), oracle(file), `seed ${seed}: ${size} bytes`)
  }
})

test('an object that is written in pieces and holes of any length is the file that they make', () => {
  const store = openStore(path.join(folder, 'store'), { create: true })
  using objects = openStagedObjects(store, `${paths.staging(store)}/test`)
  for (let seed = firstSeed(); seed < firstSeed() + scaled(FILES); seed++) {
    const random = createRandom(seed)
    using object = createObjectFile(objects)
    const parts: Buffer[] = []
    for (let pieces = 1 + random.below(8); pieces > 0; pieces--) {
      const length = random.below(random.pick([2, 5000, 70_000, 3_000_000]))
      const isHole = random.chance(0.5)
      const part = Buffer.alloc(length, isHole ? 0 : random.bytes(64), 'latin1')
      if (isHole) object.skip(length)
      else object.write(part)
      parts.push(part)
    }
    const expected = Buffer.concat(parts)
    const { digest, size } = object.finish()
    const stored = path.join(objects.path, digest)
    assert.equal(size, expected.length, `seed ${seed}`)
    assert.ok(fs.readFileSync(stored).equals(expected), `seed ${seed}: other bytes`)
    assert.equal(digest, oracle(stored), `seed ${seed}`)
  }
})

test('a hole of four petabytes is hashed at once, and in parts the same', () => {
  const [one, parts] = [createVerityHasher(), createVerityHasher()]
  one.updateZeros(2 ** 52)
  for (let i = 0; i < 1024; i++) parts.updateZeros(2 ** 42)
  assert.equal(one.digest(), parts.digest())
})
