import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { test } from 'node:test'
import { openBin } from '../../src/collect/bin.ts'
import { emptyTrash } from '../../src/collect/empty-trash.ts'
import { surveyStore } from '../../src/collect/survey.ts'
import { sweep } from '../../src/collect/sweep.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { parseReference } from '../../src/names/reference.ts'
import { parseTag } from '../../src/names/tag.ts'
import { collectGarbage, explainKept, previewCollection } from '../../src/repository/collect.ts'
import { tagCommit } from '../../src/repository/tag.ts'
import { lockStore } from '../../src/store/locks.ts'
import { createStaging } from '../../src/store/staging.ts'
import { scaled } from '../support/scale.ts'
import { content, createTestStore, listContents, fingerprints } from '../support/store.ts'

test('what a removed tag alone kept goes to the trash, and nothing else', async () => {
  const store = createTestStore()
  const first = await store.importFiles('app:v1', { a: content('only in v1'), b: content('in both') })
  const second = await store.importFiles('app:v2', { b: content('in both'), c: content('only in v2') })
  await store.removeTag('app:v1')
  const result = await collectGarbage(store)
  assert.deepEqual([result.commits, result.objects], [1, 1])
  const { commits, objects } = listContents(store.store.path)
  assert.deepEqual(commits, [second])
  assert.equal(objects.length, 2)
  assert.ok(result.bytes > 0 && result.trash.bytes >= result.bytes)
  assert.equal(fs.readdirSync(`${store.store.path}/trash`).length, 1)
  assert.match(store.run(['verify', 'app:v2']).stderr, /intact/)
  assert.equal(
    store.run(['gc', 'explain', first]).stdout.split('\n')[0],
    `commit ${first.slice(0, 12)} is in the trash`,
  )
})

/** Names a commit by one more tag, takes the tag away, makes a label's folder and takes it away, without end. */
const COMING_AND_GOING = `
import os, sys
refs = sys.argv[1]
while True:
    for i in range(20): os.link(refs + '/app/tags/v1', refs + '/app/tags/t%d' % i)
    for i in range(20): os.unlink(refs + '/app/tags/t%d' % i)
    for i in range(20): os.mkdir(refs + '/label%d' % i)
    for i in range(20): os.rmdir(refs + '/label%d' % i)
`

test('tags and labels that go while a collection looks at them keep nothing, and keep nobody from it', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('stays') })
  const others = spawn('python3', ['-c', COMING_AND_GOING, `${store.store.path}/refs`], { stdio: 'inherit' })
  try {
    for (let i = 0; i < scaled(500); i++) assert.deepEqual((await previewCollection(store)).commits, [])
    assert.equal(others.exitCode, null)
  } finally {
    others.kill('SIGKILL')
    await once(others, 'close')
  }
})

test('the trash is emptied when its grace period is over, or at once', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('gone') })
  await store.importFiles('app:v2', { b: content('stays') })
  await store.removeTag('app:v1')
  assert.equal((await collectGarbage(store)).freed.items, 0)
  assert.equal((await collectGarbage(store)).trash.items, 1)
  const { freed, trash } = await collectGarbage(store, { now: true })
  assert.equal(freed.items, 1)
  assert.ok(freed.bytes > 0)
  assert.deepEqual([trash.items, trash.freedAt], [0, undefined])
  await store.removeTag('app:v2')
  const last = await collectGarbage(store, { graceSeconds: 0 })
  assert.deepEqual([last.commits, last.freed.items], [1, 1])
  assert.deepEqual(listContents(store.store.path), { commits: [], objects: [] })
})

test('a collection without a grace period between two turns of a sweep empties its bin, and the sweep takes another', async () => {
  const store = createTestStore()
  const first = await store.importFiles('app:v1', { a: content('first') })
  const { objects } = listContents(store.store.path)
  const second = await store.importFiles('app:v2', { a: content('second') })
  using bin = openBin(store.store)
  bin.beginTurn()
  assert.equal(bin.takeCommit(first), true)
  assert.equal((await emptyTrash(store.store, { graceSeconds: 0 })).items, 1)
  bin.beginTurn()
  assert.equal(bin.takeCommit(second), true)
  assert.equal(bin.takeObject(objects[0]), true)
  const [item, ...others] = fs.readdirSync(`${store.store.path}/trash`)
  assert.deepEqual(others, [])
  const inItem = (kind: string): string[] => fs.readdirSync(`${store.store.path}/trash/${item}/${kind}`)
  assert.deepEqual([inItem('commits'), inItem('objects')], [[second], objects])
})

test('tags, HEAD, pins and other sources keep commits', async () => {
  const store = createTestStore()
  const tagged = await store.importFiles('a:v1', { f: content('tagged') })
  const base = await store.importFiles('head:v1', { f: content('base') })
  await store.unmount(await store.mount('head'))
  const pinned = await store.importFiles('b:v1', { f: content('pinned') })
  const other = await store.importFiles('c:v1', { f: content('other') })
  const lost = await store.importFiles('d:v1', { f: content('lost') })
  for (const reference of ['head:v1', 'b:v1', 'c:v1', 'd:v1']) await store.removeTag(reference)
  fs.mkdirSync(`${store.store.path}/state/pins`)
  fs.writeFileSync(`${store.store.path}/state/pins/${pinned}`, '')
  const sources = [{ name: 'cluster', read: () => [{ commit: other, kind: 'other', holder: 'volume pvc-1' }] as const }]
  await collectGarbage(store, { sources })
  assert.deepEqual(listContents(store.store.path).commits, [tagged, base, pinned, other].sort())
  const [explained] = await explainKept(store, other, { sources })
  assert.deepEqual(explained.commits[0].holders, ['volume pvc-1'])
  const [going] = await explainKept(store, lost)
  assert.equal(going.state, 'trash')
})

test('the commit that a fold leads to, and one that only an upperdir names, stay', async () => {
  const store = createTestStore()
  const to = await store.importFiles('app:v1', { f: content('one') })
  await store.importFiles('app:v2', { f: content('two') })
  const base = await store.importFiles('app:v3', { f: content('three') })
  await store.unmount(await store.mount('app'))
  for (const tag of ['v1', 'v2', 'v3']) await store.removeTag(`app:${tag}`)
  const file = `${store.store.path}/refs/app/head.toml`
  const clean = fs.readFileSync(file, 'utf8')
  const folding = clean.replace('state = "clean"', 'state = "folding"')
  fs.writeFileSync(file, `${folding}\n[folding]\nto = "${to}"\nto_generation = 2\n`)
  await collectGarbage(store)
  assert.deepEqual(listContents(store.store.path).commits, [base, to].sort())
  fs.rmSync(file)
  await collectGarbage(store)
  assert.deepEqual(listContents(store.store.path).commits, [base])
})

test('a move that was cut off between log and ref keeps the commit that it leads to', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { f: content('one') })
  const id = await store.importFiles('app:v2', { f: content('two') })
  fs.rmSync(`${store.store.path}/refs/app/tags/v2`) // as if the command had died behind the log's entry
  await collectGarbage(store)
  assert.equal(listContents(store.store.path).commits.length, 2)
  const reference = parseReference('app:v1')
  await tagCommit(store, { source: reference, tag: parseTag('other'), move: false, force: false })
  assert.equal(fs.readFileSync(`${store.store.path}/refs/app/tags/v2`, 'utf8').trim(), id)
})

test('what becomes reachable between survey and sweep stays', async () => {
  const store = createTestStore()
  await store.importFiles('app:keep', { f: content('keep') })
  const id = await store.importFiles('app:v1', { a: content('first'), b: content('second') })
  await store.removeTag('app:v1')
  const survey = await surveyStore(store.store)
  assert.deepEqual([survey.go, survey.garbage.size], [[id], 2])
  const source = parseReference(`app:${id}`)
  await tagCommit(store, { source, tag: parseTag('again'), move: false, force: false })
  const swept = await sweep(store.store, survey)
  assert.deepEqual([swept.commits, swept.objects], [0, 0])
  // An object that a new commit uses, while the old one goes:
  await store.removeTag('app:again')
  const second = await surveyStore(store.store)
  await store.importFiles('app:v2', { b: content('second') })
  const again = await sweep(store.store, second)
  assert.deepEqual([again.commits, again.objects], [1, 1])
  assert.equal(store.run(['verify']).status, 0)
})

test('a collection waits for the others a while only, and says who they are', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { f: content('one') })
  await store.importFiles('app:v2', { f: content('two') })
  await store.removeTag('app:v1')
  using _store = await lockStore(store.store, 'shared')
  await assert.rejects(collectGarbage(store, { lockLimitMs: 50 }), error => isStratumError(error, 'busy'))
  assert.equal(listContents(store.store.path).commits.length, 2)
})

test('leftovers of killed commands are cleared, what lives is not', async () => {
  const store = createTestStore()
  const root = store.store.path
  await store.importFiles('app:v1', { f: content('one') })
  fs.mkdirSync(`${root}/staging/dead/objects`, { recursive: true })
  fs.writeFileSync(`${root}/staging/dead/objects/x`, 'x')
  fs.writeFileSync(`${root}/refs/app/.new-1-0-head.toml`, 'half')
  fs.writeFileSync(`${root}/refs/app/tags/.new-1-0-v2`, 'half')
  fs.mkdirSync(`${root}/refs/never`)
  fs.writeFileSync(`${root}/refs/never/lock`, '')
  using living = createStaging(store.store)
  const { leftovers } = await collectGarbage(store)
  assert.equal(leftovers, 4)
  assert.deepEqual(fs.readdirSync(`${root}/staging`), [living.path.split('/').at(-1)])
  assert.deepEqual(fs.readdirSync(`${root}/refs`), ['app'])
  assert.deepEqual(fs.readdirSync(`${root}/refs/app/tags`), ['v1'])
})

test('a dry run names labels, tags, paths and bytes, and changes nothing', async () => {
  const store = createTestStore()
  const id = await store.importFiles('team-a/web:v1', { 'bin/tool': content('big', 50_000), small: content('small') })
  await store.importFiles('team-a/web:v2', { small: content('small') })
  await store.removeTag('team-a/web:v1')
  const orphan = `${store.store.path}/objects/00/${'0'.repeat(62)}`
  fs.writeFileSync(orphan, 'of an import that was killed')
  const before = fingerprints(store.store.path)
  const { stdout, status } = store.run(['gc', '--dry-run'])
  assert.equal(status, 0)
  assert.match(stdout, /^team-a\/web:v1 \(remove by tester, \d\d:\d\d\) of \S+ \S+ {2}/)
  assert.ok(stdout.includes(id.slice(0, 12)))
  assert.match(stdout, /^ {4}\/bin\/tool {2}53\.2 kB$/m)
  assert.doesNotMatch(stdout, /small/)
  assert.match(stdout, /1 object of no commit/)
  const { json } = store.run(['gc', '--dry-run', '--json'])
  assert.deepEqual(json.commits[0].paths, [{ path: 'bin/tool', bytes: 53_248 }])
  assert.deepEqual(fingerprints(store.store.path), before)
  const { commits, loose } = await previewCollection(store)
  assert.deepEqual([commits.length, loose.objects], [1, 1])
})

test('explain prints the chain from a name to an object', async () => {
  const store = createTestStore()
  const id = await store.importFiles('app:v1', { 'etc/conf': content('conf'), copy: content('conf') })
  const [digest] = listContents(store.store.path).objects
  const { stdout } = store.run(['gc', 'explain', digest.slice(0, 10)])
  assert.deepEqual(stdout.trim().split('\n'), [
    `object ${digest} is kept`,
    `  app:v1 → commit ${id.slice(0, 12)} → /copy, /etc/conf`,
  ])
  assert.match(store.run(['gc', 'explain', 'app:v1']).stdout, /is kept\n {2}app:v1 → commit/)
  await store.removeTag('app:v1')
  assert.match(
    store.run(['gc', 'explain', digest]).stdout,
    /kept by nothing: .*\n {2}nothing any more; it was app:v1 \(remove/,
  )
  assert.equal(store.run(['gc', 'explain', 'ffffffff']).status, 4)
  assert.equal(store.run(['gc', 'explain', 'nonsense']).status, 2)
  assert.equal(store.run(['gc', 'nonsense']).status, 2)
})
