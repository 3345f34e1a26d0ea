import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { newStore } from '../support/imported.ts'
import { assertDirectoryMode, assertMounted, assertObjects, importAndCompare } from '../support/kept.ts'
import { checkStore } from '../support/verifier.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'directories-'))

/** The packages of this project, without the folder that running tests write to. */
function copyOfPackages(): string {
  const packages = fs.realpathSync(path.resolve(import.meta.dirname, '../../node_modules'))
  const names = fs.readdirSync(packages).filter(name => name !== '.cache' && !name.startsWith('node-linux-'))
  const copy = path.join(folder, 'node_modules')
  fs.mkdirSync(copy)
  execFileSync('cp', ['-a', ...names.map(name => path.join(packages, name)), copy])
  return copy
}

for (const [what, find, forms] of [
  ['/etc', () => '/etc', ['detached', 'attached', 'loop']],
  ['/usr/bin', () => '/usr/bin', ['detached', 'attached', 'loop']],
  ['a node_modules', copyOfPackages, ['detached']],
  ['/usr/share', () => '/usr/share', ['detached']],
] as const) {
  test(`${what} is kept as it is: the images of verifier and mkcomposefs, every digest, and what the kernel shows`, async t => {
    const store = newStore()
    const directory = find()
    const kept = await importAndCompare(store, 'directory', directory)
    assertDirectoryMode(kept, directory)
    assert.ok(assertObjects(store) > 0)
    assert.deepEqual(checkStore(store.path, { quick: true }).problems, [])
    for (const form of forms) {
      await t.test(`mounted ${form}`, async () => {
        process.env.STRATUM_MOUNT_FORM = form
        try {
          await assertMounted(store, kept)
        } finally {
          delete process.env.STRATUM_MOUNT_FORM
        }
      })
    }
    fs.rmSync(store.path, { recursive: true })
  })
}
