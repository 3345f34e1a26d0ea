import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { collectGarbage } from '../../src/repository/collect.ts'
import { createLab, openLab } from '../support/lab.ts'

test('a mount of a commit that only a copy of the store has does not keep the original from collecting', async () => {
  const original = await createLab({ file: 'text '.repeat(100) })
  const folder = original.makeFolder('copy')
  execFileSync('cp', ['-a', original.store.path, path.join(folder, 'store')])
  const copy = openLab(folder)
  assert.equal(copy.store.id, original.store.id)
  const source = copy.makeFolder('source')
  fs.writeFileSync(path.join(source, 'file'), 'only in the copy '.repeat(100))
  const id = await copy.import(source)
  await copy.mount(`app:${id}`, copy.head)
  await copy.mount('app', copy.makeFolder('writable'))
  await collectGarbage(original.context, { now: true })
  await collectGarbage(copy.context, { now: true })
  assert.match(fs.readFileSync(path.join(copy.head, 'file'), 'utf8'), /^only in the copy/)
})
