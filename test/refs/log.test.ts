import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import type { CommitId } from '../../src/names/commit-id.ts'
import type { Label } from '../../src/names/label.ts'
import { appendLog, lastLogEntry, type LogEntry, readLog } from '../../src/refs/log.ts'
import { finishMoves, moveRefs } from '../../src/refs/move-refs.ts'
import { readTags } from '../../src/refs/tags.ts'
import { paths, type Store } from '../../src/store/layout.ts'
import { openStore } from '../../src/store/open-store.ts'

const LABEL = 'app' as Label
const [A, B, C] = ['a', 'b', 'c'].map(digit => digit.repeat(64)) as CommitId[]

function newStore(): Store {
  const store = openStore(fs.mkdtempSync(path.join(os.tmpdir(), 'log-')), { create: true })
  fs.mkdirSync(paths.label(store, LABEL))
  return store
}

function entry(message: string, number = 0): LogEntry {
  return { time: new Date(number).toISOString(), actor: 'test', operation: 'tag', refs: {}, message }
}

const logOf = (store: Store): string => paths.log(store, LABEL)

test('entries come back in the order in which they were written', () => {
  const store = newStore()
  assert.deepEqual(readLog(store, LABEL), [])
  assert.equal(lastLogEntry(store, LABEL), undefined)
  const written = Array.from({ length: 50 }, (_, i) =>
    entry(i % 2 === 0 ? `plain ${i}` : 'üñí\u{1f642}\n"'.repeat(i), i),
  )
  for (const [i, one] of written.entries()) {
    appendLog(store, LABEL, one)
    assert.deepEqual(lastLogEntry(store, LABEL), one)
    if (i % 10 === 0) assert.deepEqual(readLog(store, LABEL), written.slice(0, i + 1))
  }
  assert.deepEqual(readLog(store, LABEL), written)
})

test('an entry cut at any byte never was, and the next one is whole', () => {
  const first = entry('ä first')
  const second = entry('a second, with \u{1f642} and ü at its end: ü')
  const third = entry('third')
  const store = newStore()
  appendLog(store, LABEL, first)
  const whole = fs.readFileSync(logOf(store))
  appendLog(store, LABEL, second)
  const both = fs.readFileSync(logOf(store))
  for (let length = whole.length; length < both.length; length++) {
    fs.writeFileSync(logOf(store), both.subarray(0, length))
    assert.deepEqual(readLog(store, LABEL), [first], `cut at ${length}`)
    assert.deepEqual(lastLogEntry(store, LABEL), first, `cut at ${length}`)
    appendLog(store, LABEL, third)
    assert.deepEqual(readLog(store, LABEL), [first, third], `cut at ${length}`)
  }
})

test('a first entry that was cut leaves an empty log', () => {
  const store = newStore()
  for (const rest of ['{', '{"time":"ü'.slice(0, -1), '\u00fc'.repeat(70_000)]) {
    fs.writeFileSync(logOf(store), rest)
    assert.equal(lastLogEntry(store, LABEL), undefined)
    assert.deepEqual(readLog(store, LABEL), [])
    appendLog(store, LABEL, entry('new'))
    assert.deepEqual(readLog(store, LABEL), [entry('new')])
  }
})

test('entries of any length are found, whole or cut', () => {
  for (const text of ['x', 'ü', '\u{1f642}']) {
    for (const bytes of [65_000, 65_400, 65_535, 65_536, 70_000, 200_000]) {
      const store = newStore()
      const long = entry(text.repeat(bytes / Buffer.byteLength(text)))
      appendLog(store, LABEL, entry('short'))
      appendLog(store, LABEL, long)
      assert.deepEqual(lastLogEntry(store, LABEL), long)
      const log = fs.readFileSync(logOf(store))
      fs.writeFileSync(logOf(store), log.subarray(0, log.length - 2))
      assert.deepEqual(lastLogEntry(store, LABEL), entry('short'), `${bytes} bytes of ${text}`)
      appendLog(store, LABEL, entry('after'))
      assert.deepEqual(readLog(store, LABEL), [entry('short'), entry('after')], `${bytes} bytes of ${text}`)
    }
  }
})

test('a damaged line is an integrity error that names the line', () => {
  const store = newStore()
  for (const bad of [
    '',
    'no JSON',
    '{}',
    '[]',
    'null',
    '{"time":1,"refs":{}}',
    '{"time":"x"}',
    '{"time":"x","refs":null}',
    '{"time":"x","refs":{"tags/a":null}}',
    '{"time":"x","refs":{"tags/a":{"from":null}}}',
    '{"time":"x","refs":{"tags/a":{"from":null,"to":"../../x"}}}',
  ]) {
    fs.writeFileSync(logOf(store), `${JSON.stringify(entry('good'))}\n${bad}\n${JSON.stringify(entry('good'))}\n`)
    assert.throws(
      () => readLog(store, LABEL),
      error => isStratumError(error, 'integrity') && error.message.includes('line 2'),
      bad,
    )
    fs.writeFileSync(logOf(store), `${bad}\n`)
    assert.throws(
      () => lastLogEntry(store, LABEL),
      error => isStratumError(error, 'integrity'),
      bad,
    )
  }
})

test('a move that was logged and not done is finished, wherever it was cut', () => {
  const moves = new Map([
    ['tags/one', { from: A, to: B }],
    ['tags/two', { from: null, to: B }],
    ['tags/three', { from: A, to: null }],
    ['tags/same', { from: A, to: A }],
  ])
  const before = { one: A, three: A, same: A }
  const after = { one: B, two: B, same: A }
  for (const done of [[], ['one'], ['one', 'two'], ['two', 'three'], ['one', 'two', 'three']]) {
    const store = newStore()
    moveRefs(
      store,
      LABEL,
      { actor: 't', operation: 'tag' },
      new Map(Object.entries(before).map(([tag, to]) => [`tags/${tag}`, { from: null, to }])),
    )
    appendLog(store, LABEL, { ...entry('cut'), refs: Object.fromEntries(moves) })
    for (const tag of done) {
      const to = moves.get(`tags/${tag}`)?.to
      if (to == null) fs.rmSync(`${paths.tags(store, LABEL)}/${tag}`)
      else fs.writeFileSync(`${paths.tags(store, LABEL)}/${tag}`, `${to}\n`)
    }
    const left = ['one', 'two', 'three'].filter(tag => !done.includes(tag)).map(tag => `tags/${tag}`)
    assert.deepEqual(finishMoves(store, LABEL), left)
    assert.deepEqual(Object.fromEntries(readTags(store, LABEL)), after)
    assert.deepEqual(finishMoves(store, LABEL), [])
  }
})

test('a ref that stands elsewhere is left alone when a move is finished, and refused when one begins', () => {
  const store = newStore()
  const operation = { actor: 't', operation: 'tag' }
  moveRefs(store, LABEL, operation, new Map([['tags/one', { from: null, to: C }]]))
  assert.throws(
    () => moveRefs(store, LABEL, operation, new Map([['tags/one', { from: A, to: B }]])),
    error => isStratumError(error, 'conflict'),
  )
  assert.equal(readLog(store, LABEL).length, 1)
  appendLog(store, LABEL, { ...entry('cut'), refs: { 'tags/one': { from: A, to: B } } })
  assert.deepEqual(finishMoves(store, LABEL), [])
  assert.deepEqual(Object.fromEntries(readTags(store, LABEL)), { one: C })
})

test('the log cannot lead out of its label', () => {
  for (const ref of [
    'tags/../../other/tags/x',
    'tags/..',
    'tags/',
    'tags/HEAD',
    'tags/a/b',
    'other',
    '',
    '../x',
    'tags/a\0b',
  ]) {
    const store = newStore()
    appendLog(store, LABEL, { ...entry('forged'), refs: { [ref]: { from: null, to: A } } })
    assert.throws(
      () => finishMoves(store, LABEL),
      error => isStratumError(error, 'integrity'),
      ref,
    )
  }
})
