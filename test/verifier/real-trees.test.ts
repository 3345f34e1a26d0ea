import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { newStore } from '../support/imported.ts'
import { assertMounted, assertObjects, importAndCompare } from '../support/kept.ts'
import { createRandom } from '../support/random.ts'
import { fillDirectory, mountTmpfs, type RealTreeOptions } from '../support/real-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { checkStore } from '../support/verifier.ts'

const TREES = 5
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'real-trees-'))

/** Imports random directories and compares what came of it with the verifier, mkcomposefs, the fsverity program and the kernel. */
async function compare(parent: string, options: RealTreeOptions): Promise<void> {
  const store = newStore()
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const directory = fs.mkdtempSync(path.join(parent, 'tree-'))
    fillDirectory(createRandom(seed), directory, options)
    const kept = await importAndCompare(store, `tree/${seed}`, directory)
    assert.deepEqual(kept.commit.unstable, [], `seed ${seed}`)
    await assertMounted(store, kept)
    fs.rmSync(directory, { recursive: true })
  }
  assert.deepEqual(checkStore(store.path).problems, [])
  assert.ok(assertObjects(store) > 100)
}

test('random directories on the file system of the machine: import, verifier, mkcomposefs, fsverity and kernel agree', async () => {
  await compare(folder, { names: 250, oldest: -(2 ** 31), newest: 2 ** 33 })
})

test('random directories on tmpfs, with mtimes as far away as numbers reach', async () => {
  await compare(mountTmpfs(path.join(folder, 'tmpfs')), { names: 250, oldest: -(2 ** 53) + 1, newest: 2 ** 53 - 1 })
})
