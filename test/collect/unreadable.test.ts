import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { collectGarbage } from '../../src/repository/collect.ts'
import { content, createTestStore, listContents, type TestStore } from '../support/store.ts'

/** A store with a commit that nothing keeps and a label with a HEAD; the trash holds something that is due. */
async function storeWithGarbage(): Promise<TestStore> {
  const store = createTestStore()
  await store.importFiles('app:v1', { a: content('one'), b: content('shared') })
  await store.importFiles('app:v2', { b: content('shared') })
  await store.unmount(await store.mount('app'))
  await store.removeTag('app:v1')
  fs.mkdirSync(`${store.store.path}/trash/1-sweep-00000000/objects`, { recursive: true })
  return store
}

/** Ways in which something that keeps commits cannot be read, understood or believed. */
const DAMAGES: readonly (readonly [string, number, (store: TestStore, root: string) => void])[] = [
  ['a tag that holds no commit id', 9, (_, root) => fs.writeFileSync(`${root}/refs/app/tags/v2`, 'garbage\n')],
  ['an empty tag', 9, (_, root) => fs.writeFileSync(`${root}/refs/app/tags/v2`, '')],
  ['a tag that is a directory', 1, (_, root) => replaceByDirectory(`${root}/refs/app/tags/v2`)],
  ['a foreign file among the tags', 9, (_, root) => fs.writeFileSync(`${root}/refs/app/tags/v2~`, 'what')],
  [
    'a tag of a commit that is not there',
    9,
    (_, root) => fs.writeFileSync(`${root}/refs/app/tags/v3`, `${'a'.repeat(64)}\n`),
  ],
  ['tags that are a file', 2, (_, root) => replaceByFile(`${root}/refs/app/tags`)],
  ['a head.toml that is cut', 9, (_, root) => fs.truncateSync(`${root}/refs/app/head.toml`, 40)],
  ['an empty head.toml', 9, (_, root) => fs.writeFileSync(`${root}/refs/app/head.toml`, '')],
  ['a log whose last entry is damaged', 9, (_, root) => fs.appendFileSync(`${root}/refs/app/log`, '{"time":1}\n')],
  ['refs that are gone', 9, (_, root) => fs.renameSync(`${root}/refs`, `${root}-refs`)],
  ['refs that are empty', 9, (_, root) => fs.renameSync(`${root}/refs/app`, `${root}-app`)],
  ['a pin that names no commit', 9, (_, root) => writeInto(`${root}/state/pins`, 'keep-this', '')],
  ['a pin of a commit that is not there', 9, (_, root) => writeInto(`${root}/state/pins`, 'a'.repeat(64), '')],
  ['pins that are a file', 2, (_, root) => fs.writeFileSync(`${root}/state/pins`, '')],
  [
    'a damaged line in the records of mounts',
    9,
    () => fs.appendFileSync(`${process.env.STRATUM_RUN}/state`, '{"key":\n'),
  ],
  ['a damaged image of a commit that stays', 9, store => damageImage(store)],
  ['an image that is gone', 9, (store, root) => fs.rmSync(`${root}/commits/${keptCommit(store)}/commit.cfs`)],
  ['metadata.toml that is gone', 9, (store, root) => fs.rmSync(`${root}/commits/${keptCommit(store)}/metadata.toml`)],
]

for (const [what, status, damage] of DAMAGES) {
  test(`nothing is deleted on account of ${what}`, async () => {
    fs.rmSync(`${process.env.STRATUM_RUN}/state`, { force: true })
    const store = await storeWithGarbage()
    damage(store, store.store.path)
    const before = listContents(store.store.path)
    const ran = store.run(['gc', '--now'])
    assert.equal(ran.status, status, ran.stderr)
    assert.match(ran.stderr, /^error: /)
    assert.deepEqual(listContents(store.store.path), before)
    assert.deepEqual(fs.readdirSync(`${store.store.path}/trash`), ['1-sweep-00000000'])
    fs.rmSync(`${process.env.STRATUM_RUN}/state`, { force: true })
  })
}

test('nothing is deleted if another source of roots fails', async () => {
  const store = await storeWithGarbage()
  const before = listContents(store.store.path)
  const read = (): never => {
    throw new Error('the API server does not answer')
  }
  await assert.rejects(
    collectGarbage(store, { now: true, sources: [{ name: 'volumes of the cluster', read }] }),
    /the volumes of the cluster cannot be read, so nothing may be deleted: .*does not answer/,
  )
  assert.deepEqual(listContents(store.store.path), before)
})

test('a source that fails only when the sweep asks again stops the sweep', async () => {
  const store = await storeWithGarbage()
  const before = listContents(store.store.path)
  let asked = 0
  const read = (): [] => {
    if (++asked > 1) throw new Error('gone meanwhile')
    return []
  }
  await assert.rejects(collectGarbage(store, { sources: [{ name: 'cluster', read }] }), /gone meanwhile/)
  assert.equal(asked, 2)
  assert.deepEqual(listContents(store.store.path), before)
})

test('without damage the same store is collected', async () => {
  const store = await storeWithGarbage()
  const { commits, objects } = await collectGarbage(store)
  assert.deepEqual([commits, objects], [1, 1])
})

test('that the last label was removed is said by its remains in the trash, or by the user', async () => {
  for (const say of ['trash', 'flag'] as const) {
    const store = await storeWithGarbage()
    const root = store.store.path
    if (say === 'trash') fs.renameSync(`${root}/refs/app`, `${root}/trash/${Date.now()}-label-00000000`)
    else fs.rmSync(`${root}/refs/app`, { recursive: true })
    const { commits } = await collectGarbage(store, say === 'flag' ? { allowEmpty: true } : {})
    assert.equal(commits, 2)
    assert.deepEqual(listContents(root), { commits: [], objects: [] })
  }
})

test('a damaged commit that nothing keeps goes like any other', async () => {
  const store = await storeWithGarbage()
  const going = listContents(store.store.path).commits.find(id => id !== keptCommit(store)) as string
  fs.chmodSync(`${store.store.path}/commits/${going}/commit.cfs`, 0o644)
  fs.writeFileSync(`${store.store.path}/commits/${going}/commit.cfs`, 'no image')
  const { commits, objects } = await collectGarbage(store)
  assert.deepEqual([commits, objects], [1, 1])
})

test('where it cannot be told whether an image is open, its commit stays and the exit status says so', async () => {
  const store = await storeWithGarbage()
  const going = listContents(store.store.path).commits.find(id => id !== keptCommit(store)) as string
  fs.chownSync(`${store.store.path}/commits/${going}/commit.cfs`, 1234, 1234)
  // Without CAP_LEASE only the owner of a file may ask.
  const ran = store.run(['gc'], {}, ['setpriv', '--bounding-set=-lease', '--inh-caps=-lease'])
  assert.equal(ran.status, 3, ran.stderr)
  assert.match(ran.stderr, /stays: it cannot be told whether its image is mounted/)
  const { commits, objects } = listContents(store.store.path)
  assert.deepEqual([commits.length, objects.length], [2, 2])
})

function keptCommit({ store }: TestStore): string {
  return fs.readFileSync(`${store.path}/refs/app/tags/v2`, 'utf8').trim()
}

/** A digest in the image becomes another: its object would look unused. */
function damageImage(store: TestStore): void {
  const image = `${store.store.path}/commits/${keptCommit(store)}/commit.cfs`
  const bytes = fs.readFileSync(image)
  const at = bytes.indexOf('overlay.metacopy')
  bytes[at + 25] ^= 1
  fs.chmodSync(image, 0o644)
  fs.writeFileSync(image, bytes)
}

function writeInto(folder: string, name: string, text: string): void {
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(`${folder}/${name}`, text)
}

function replaceByDirectory(path: string): void {
  fs.rmSync(path)
  fs.mkdirSync(path)
}

function replaceByFile(path: string): void {
  fs.rmSync(path, { recursive: true })
  fs.writeFileSync(path, '')
}
