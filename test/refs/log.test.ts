import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { appendLog, lastLogEntry, readLog } from '../../src/refs/log.ts'
import { createLab, LABEL, type Lab } from '../support/lab.ts'

const ENTRY = { time: '2026-11-22T10:00:00.000Z', actor: 'test', operation: 'commit', refs: {} }

async function createLog(): Promise<{ lab: Lab; file: string }> {
  const lab = await createLab({ file: 'file' })
  return { lab, file: path.join(lab.paths.label, 'log') }
}

test('an entry that was cut in the middle of a character takes nothing of the one before with it', async () => {
  const { lab, file } = await createLog()
  appendLog(lab.store, LABEL, { ...ENTRY, message: 'before' })
  const whole = fs.readFileSync(file)
  for (const cut of ['{"message":"caf\u00e9', '{"message":"\u65e5\u672c', '{"message":"\u{1f600}']) {
    const bytes = Buffer.from(cut)
    for (let lost = 1; lost <= 3; lost++) {
      fs.writeFileSync(file, Buffer.concat([whole, bytes.subarray(0, bytes.length - lost)]))
      appendLog(lab.store, LABEL, { ...ENTRY, message: 'after' })
      assert.deepEqual(
        readLog(lab.store, LABEL)
          .map(({ message }) => message)
          .slice(-2),
        ['before', 'after'],
      )
    }
  }
})

test('an entry longer than what is read at first is found, whatever letters it has', async () => {
  const { lab, file } = await createLog()
  for (const letter of ['a', '\u00e9', '\u65e5']) {
    const unstable = Array.from({ length: 9000 }, (_, i) => `${letter}/${i}`)
    appendLog(lab.store, LABEL, { ...ENTRY, unstable })
    assert.equal(lastLogEntry(lab.store, LABEL)?.unstable?.length, 9000)
    await lab.tag(
      `app:${lab.record?.()?.base ?? (await lab.import(path.join(lab.folder, 'base')))}`,
      `t-${letter.charCodeAt(0)}`,
    )
  }
  fs.appendFileSync(file, `{"unstable":["${'\u00e9'.repeat(100_000)}`)
  appendLog(lab.store, LABEL, { ...ENTRY, message: 'after a long one that was cut' })
  assert.equal(readLog(lab.store, LABEL).at(-1)?.message, 'after a long one that was cut')
})

test('a log of one cut entry is an empty log', async () => {
  const { lab, file } = await createLog()
  fs.writeFileSync(file, '{"time":"20')
  assert.equal(lastLogEntry(lab.store, LABEL), undefined)
  assert.deepEqual(readLog(lab.store, LABEL), [])
  appendLog(lab.store, LABEL, ENTRY)
  assert.equal(readLog(lab.store, LABEL).length, 1)
})
