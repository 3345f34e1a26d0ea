import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { parseReference } from '../../src/names/reference.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { measureLabel, measureStore } from '../../src/repository/du.ts'
import { diskUsage } from '../../src/store/usage.ts'
import { content, createTestStore } from '../support/store.ts'

const KIB = 1024

test('du says what is shared, what is exclusive, and what removing a tag frees', async () => {
  const store = createTestStore()
  const shared = content('shared', 100 * KIB)
  const v1 = await store.importFiles('app:v1', { shared, one: content('one', 50 * KIB) })
  await store.importFiles('app:v2', { shared, twice: content('two', 20 * KIB), again: content('two', 20 * KIB) })
  await store.importFiles('web:v1', { shared, web: content('web', 10 * KIB) })
  const { commits } = await measureLabel(store, parseReference('app'))
  const rows = Object.fromEntries(commits.map(row => [row.tags[0], row]))
  const image = (id: string): number => diskUsage(`${store.store.path}/commits/${id}`).bytes
  assert.equal(rows.v1.bytes, image(v1) + (104 + 52) * KIB)
  assert.equal(rows.v1.exclusive, image(v1) + 52 * KIB)
  assert.equal(rows.v1.frees, rows.v1.exclusive)
  assert.equal(rows.v2.exclusive, image(rows.v2.id) + 24 * KIB)
  const { labels, objects } = await measureStore(store)
  const web = labels.find(({ label }) => label === 'web')
  assert.equal(web?.exclusive, image((await measureLabel(store, parseReference('web:v1'))).commits[0].id) + 12 * KIB)
  assert.deepEqual(objects, { count: 4, bytes: (104 + 52 + 24 + 12) * KIB })
})

test('what du promises is what a collection frees', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('a', 60 * KIB), b: content('b', 9 * KIB) })
  await store.importFiles('app:v2', { b: content('b', 9 * KIB) })
  const promised = (await measureLabel(store, parseReference('app:v1'))).commits[0].frees
  assert.equal(store.run(['du', 'app:v1', '-q']).stdout, `${promised}\n`)
  await store.removeTag('app:v1')
  assert.equal((await collectGarbage(store)).bytes, promised)
})

test('what else keeps a commit is named, and then removing the tag frees nothing', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('a', 60 * KIB) })
  await store.importFiles('other:x', { a: content('a', 60 * KIB) })
  const mountpoint = await store.mount('app')
  fs.writeFileSync(`${mountpoint}/new`, content('written', 30 * KIB))
  const { row, commits } = await measureLabel(store, parseReference('app'))
  assert.equal(commits[0].frees, 0)
  assert.ok(commits[0].keptBy.some(holder => holder === 'the base of HEAD of app'))
  assert.ok(row.head >= 30 * KIB)
  await store.unmount(mountpoint)
  assert.match(store.run(['du', 'app']).stdout, /ALSO KEPT BY\n.*the base of HEAD of app/)
  assert.equal(store.run(['du', 'nosuch']).status, 4)
})

test('a commit that two labels have counts once, and is exclusive to none of them', async () => {
  const store = createTestStore()
  const id = await store.importFiles('app:v1', { a: content('a', 60 * KIB) })
  fs.mkdirSync(`${store.store.path}/refs/copy/tags`, { recursive: true })
  fs.writeFileSync(`${store.store.path}/refs/copy/tags/v1`, `${id}\n`)
  const { labels } = await measureStore(store)
  assert.deepEqual(
    labels.map(({ exclusive }) => exclusive),
    [0, 0],
  )
  assert.ok(labels.every(({ bytes }) => bytes > 60 * KIB))
  const [row] = (await measureLabel(store, parseReference('app:v1'))).commits
  assert.ok(row.exclusive > 60 * KIB)
  assert.deepEqual([row.frees, row.keptBy], [0, ['copy:v1']])
})

test('objects that no commit names are told apart', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('a', 5 * KIB) })
  await store.importFiles('app:v2', { b: content('b', 5 * KIB) })
  await store.removeTag('app:v2')
  const { unused, objects, labels } = await measureStore(store)
  assert.deepEqual([unused.count, objects.count, labels[0].commits], [1, 2, 1])
  assert.match(store.run(['du']).stdout, /of them in no commit/)
})
