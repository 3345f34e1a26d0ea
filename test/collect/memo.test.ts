import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { test } from 'node:test'
import { surveyStore } from '../../src/collect/survey.ts'
import { sweep } from '../../src/collect/sweep.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { openStore } from '../../src/store/open-store.ts'
import { content, createTestStore, listContents, type TestStore } from '../support/store.ts'

/** A store that a collection has just left, with three commits that share files. */
async function collectedStore(): Promise<TestStore> {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('only in v1'), s: content('in all') })
  await store.importFiles('app:v2', { b: content('only in v2'), s: content('in all') })
  await store.importFiles('app:v3', { c: content('only in v3'), s: content('in all') })
  await collectGarbage(store)
  assert.ok(fs.existsSync(memoOf(store)))
  return store
}

function memoOf({ store }: TestStore): string {
  return `${store.path}/state/collected`
}

function commitOf({ store }: TestStore, tag: string): string {
  return `${store.path}/commits/${fs.readFileSync(`${store.path}/refs/app/tags/${tag}`, 'utf8').trim()}`
}

function spoil(file: string): void {
  fs.chmodSync(file, 0o644)
  fs.writeFileSync(file, 'no image')
}

const LOOSE = '7'.repeat(64)

function placeLoose({ store }: TestStore): void {
  fs.writeFileSync(`${store.path}/objects/77/${LOOSE.slice(2)}`, 'of an import that was cut off')
}

test('where nothing came or went since the last collection, no image is read', async () => {
  const store = await collectedStore()
  spoil(`${commitOf(store, 'v2')}/commit.cfs`)
  const { commits, objects } = await collectGarbage(store)
  assert.deepEqual([commits, objects], [0, 0])
  fs.rmSync(memoOf(store))
  await assert.rejects(collectGarbage(store), /nothing may be deleted/)
})

test('what a removed tag alone had goes; the images that stay are checked for it', async () => {
  const store = await collectedStore()
  await store.removeTag('app:v1')
  const image = `${commitOf(store, 'v2')}/commit.cfs`
  const bytes = fs.readFileSync(image)
  spoil(image)
  const before = listContents(store.store.path)
  await assert.rejects(collectGarbage(store, { now: true }), /nothing may be deleted/)
  assert.deepEqual(listContents(store.store.path), before)
  fs.writeFileSync(image, bytes)
  fs.chmodSync(image, 0o444)
  const { commits, objects } = await collectGarbage(store)
  assert.deepEqual([commits, objects], [1, 1])
  assert.equal(listContents(store.store.path).objects.length, 3)
  assert.equal(store.run(['verify']).status, 0)
})

test('a commit that goes and cannot be read makes it a thorough look', async () => {
  const store = await collectedStore()
  const going = commitOf(store, 'v1')
  await store.removeTag('app:v1')
  spoil(`${going}/commit.cfs`)
  const { commits, objects } = await collectGarbage(store)
  assert.deepEqual([commits, objects], [1, 1])
})

test('an object that belongs to no commit is found whenever it came', async () => {
  const store = await collectedStore()
  placeLoose(store)
  assert.equal((await collectGarbage(store)).objects, 1)
  assert.equal((await collectGarbage(store)).objects, 0)
  // Between survey and sweep:
  await store.removeTag('app:v1')
  const survey = await surveyStore(store.store)
  placeLoose(store)
  assert.equal((await sweep(store.store, survey)).objects, 1)
  assert.ok(listContents(store.store.path).objects.includes(LOOSE))
  assert.equal((await collectGarbage(store)).objects, 1)
  assert.ok(!listContents(store.store.path).objects.includes(LOOSE))
})

test('a commit that another collector took between survey and sweep leaves no memo of its objects', async () => {
  const store = await collectedStore()
  const survey = await surveyStore(store.store)
  await store.removeTag('app:v1')
  fs.rmSync(memoOf(store))
  fs.renameSync(
    listContents(store.store.path)
      .commits.map(id => `${store.store.path}/commits/${id}`)
      .find(path => ![commitOf(store, 'v2'), commitOf(store, 'v3')].includes(path)) as string,
    `${store.scratch}/taken`,
  )
  await sweep(store.store, survey)
  assert.equal((await collectGarbage(store)).objects, 1)
})

test('a memo that is torn, or of another store, is not believed', async () => {
  const store = await collectedStore()
  const copy = `${store.scratch}/copy`
  execFileSync('cp', ['-a', store.store.path, copy])
  for (const root of [store.store.path, copy]) {
    if (root !== copy) fs.truncateSync(memoOf(store), 20)
    spoil(`${root}/commits/${listContents(root).commits[0]}/commit.cfs`)
    await assert.rejects(collectGarbage({ store: openStore(root), actor: 'tester' }), /nothing may be deleted/)
  }
})

test('while something is in quarantine, everything is looked at', async () => {
  const store = await collectedStore()
  fs.mkdirSync(`${store.store.path}/quarantine/1/commits`, { recursive: true })
  spoil(`${commitOf(store, 'v2')}/commit.cfs`)
  await assert.rejects(collectGarbage(store), /nothing may be deleted/)
})
