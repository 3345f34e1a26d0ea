import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { checkStore } from '../../src/repository/fsck.ts'
import { createLab } from '../support/lab.ts'

test('a HEAD whose head.toml is gone stays as it is until fsck repairs it, also where its upperdir is empty', async () => {
  const lab = await createLab({ file: 'text' })
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'new'), 'new')
  await lab.commit()
  await lab.unmount()
  assert.deepEqual(fs.readdirSync(lab.paths.upper), [])
  fs.rmSync(path.join(lab.paths.label, 'head.toml'))
  for (let tries = 0; tries < 2; tries++) await assert.rejects(lab.mount(), /no head.toml/)
  const { settled } = await checkStore(lab.context, { repair: true, quick: true })
  assert.deepEqual(
    settled.map(({ finding, outcome }) => `${finding.kind}: ${outcome}`),
    ['head-damaged: repaired'],
  )
  await lab.mount()
  assert.equal(fs.readFileSync(path.join(lab.head, 'new'), 'utf8'), 'new')
})
