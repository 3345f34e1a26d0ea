import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createInterface } from 'node:readline'
import path from 'node:path'
import type { Writable } from 'node:stream'
import { test } from 'node:test'
import { readMounts } from '../../src/host/mountinfo.ts'
import { content, createTestStore } from '../support/store.ts'

const ROUNDS = 40

test('of two labels that are mounted at one place at the same moment one is there, and not one over the other', async t => {
  const { store, scratch, importFiles, unmount } = createTestStore()
  const mounters: { readonly stdin: Writable; next(): Promise<string> }[] = []
  for (const tag of ['one:v1', 'two:v1']) {
    await importFiles(tag, { a: content(tag) })
    const script = path.join(import.meta.dirname, '../support/mounter.ts')
    const child = spawn(process.execPath, [script, store.path, tag], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => child.kill())
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    mounters.push({ stdin: child.stdin, next: async () => String((await lines.next()).value) })
  }
  const answers = (): Promise<string[]> => Promise.all(mounters.map(({ next }) => next()))
  await answers()
  for (let round = 0; round < ROUNDS; round++) {
    const place = path.join(scratch, `place-${round}`)
    fs.mkdirSync(place)
    for (const { stdin } of mounters) stdin.write(`${place}\n`)
    assert.deepEqual((await answers()).sort(), ['in-use', 'mounted'], `round ${round}`)
    assert.equal(readMounts().filter(({ mountpoint }) => mountpoint === place).length, 1)
    await unmount(place)
  }
})
