import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { parseLabel } from '../../src/names/label.ts'
import { readTags } from '../../src/refs/tags.ts'
import { content, createTestStore } from '../support/store.ts'

const APP = parseLabel('app')
const RENAMES = 300

test('a tag that is renamed while the tags are read is seen under one of its names, or both', async t => {
  const { store, importFiles } = createTestStore()
  await importFiles('app:v1', { a: content('a') })
  const script = path.join(import.meta.dirname, '../support/tag-renamer.ts')
  const renamer = spawn(process.execPath, [script, store.path], { stdio: 'inherit' })
  t.after(() => renamer.kill())
  let renames = 0
  let last = ''
  for (const end = Date.now() + 60_000; renames < RENAMES && Date.now() < end; ) {
    const names = [...readTags(store, APP).keys()].join()
    assert.notEqual(names, '')
    if (names !== last) renames++
    last = names
  }
  assert.equal(renames, RENAMES)
})
