import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { inspectRecords } from '../../src/mounts/records.ts'

const LOOKS = 100

test('records that others are writing are neither damaged nor left over', async t => {
  process.env.STRATUM_RUN = fs.mkdtempSync(path.join(os.tmpdir(), 'records-'))
  const script = path.join(import.meta.dirname, '../support/mount-recorder.ts')
  const recorders = [1, 2].map(() => spawn(process.execPath, [script], { stdio: 'inherit' }))
  t.after(() => recorders.forEach(child => child.kill()))
  let seen = 0
  for (const end = Date.now() + 60_000; seen < LOOKS && Date.now() < end; ) {
    const { records, stale, damagedLines } = await inspectRecords()
    if (records.length > 0) seen++
    assert.equal(damagedLines, 0)
    assert.deepEqual(stale, [])
  }
  assert.equal(seen, LOOKS)
  assert.deepEqual(
    recorders.map(({ exitCode }) => exitCode),
    [null, null],
  )
})
