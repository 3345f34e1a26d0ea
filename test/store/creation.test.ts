import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { openStore } from '../../src/store/open-store.ts'

const MAKERS = 3
const STORES = 10

test('several who make a store at one place at once have one store', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'creation-'))
  const makers = Array.from({ length: MAKERS }, () => {
    const script = path.join(import.meta.dirname, '../support/store-maker.ts')
    const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => child.kill())
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    return { stdin: child.stdin, next: async () => String((await lines.next()).value) }
  })
  const answers = (): Promise<string[]> => Promise.all(makers.map(({ next }) => next()))
  await answers()
  for (let number = 0; number < STORES; number++) {
    const place = path.join(folder, `store-${number}`)
    for (const { stdin } of makers) stdin.write(`${place}\n`)
    const { id } = openStore(place, { create: true })
    assert.deepEqual(new Set(await answers()), new Set([id]))
    assert.equal(openStore(place).id, id)
  }
})
