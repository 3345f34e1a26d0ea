import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { clearStaleStaging } from '../../src/store/staging.ts'
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
