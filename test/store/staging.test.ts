import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { examine } from '../../src/repository/doctor.ts'
import { clearStaleStaging, countStaleStaging } from '../../src/store/staging.ts'
import { createLab } from '../support/lab.ts'

test('nobody loses a staging folder to somebody who clears away what the dead left', async () => {
  const lab = await createLab({ file: 'file' })
  const racer = path.join(import.meta.dirname, '../support/staging-racer.ts')
  const race = (role: string): Promise<{ stdout: string }> =>
    promisify(execFile)(process.execPath, [racer, path.join(lab.folder, 'store'), role])
  const results = await Promise.all(['make', 'make', 'clear', 'clear', 'make', 'clear'].map(race))
  for (const { stdout } of results) assert.ok(Number(stdout) > 10, stdout)
  clearStaleStaging(lab.store)
  assert.deepEqual(fs.readdirSync(path.join(lab.folder, 'store/staging')), [])
})

test('a staging folder that is made or removed while somebody counts is not one that a dead process left', async t => {
  const lab = await createLab({ file: 'file' })
  const maker = path.join(import.meta.dirname, '../support/staging-maker.ts')
  const store = path.join(lab.folder, 'store')
  const child = spawn(process.execPath, [maker, store], { stdio: ['ignore', 'inherit', 'inherit'] })
  t.after(() => child.kill())
  let seen = 0
  for (const end = Date.now() + 30_000; seen < 500 && Date.now() < end; ) {
    if (fs.readdirSync(`${store}/staging`).length > 0) seen++
    assert.equal(countStaleStaging(lab.store), 0)
    await nextTurn()
  }
  assert.equal(seen, 500)
  assert.equal(child.exitCode, null)
})

test('what doctor tries in the store is not cleared away by a command that tidies up', async () => {
  const lab = await createLab({ file: 'file' })
  const racer = path.join(import.meta.dirname, '../support/staging-racer.ts')
  const store = path.join(lab.folder, 'store')
  const clearing = spawn(process.execPath, [racer, store, 'clear'], { stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(clearing, 'close')
  while (clearing.exitCode === null) {
    const missing = (await examine(store)).filter(({ state }) => state === 'missing')
    assert.deepEqual(missing, [])
    await nextTurn()
  }
  assert.deepEqual(await ended, [0, null])
  assert.deepEqual(fs.readdirSync(`${store}/staging`), [])
})

test('a file that somebody put among the staging folders keeps nobody from committing, and is cleared away', async () => {
  const lab = await createLab({ file: 'file' })
  const stray = path.join(lab.folder, 'store/staging/stray')
  fs.writeFileSync(stray, 'stray')
  assert.equal(countStaleStaging(lab.store), 1)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'new'), 'new')
  await lab.commit()
  assert.equal(fs.existsSync(stray), false)
})
