import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { close } from '../../src/host/descriptors.ts'
import { attachMount, cloneMount, unmount } from '../../src/host/mount-api.ts'
import { createLayeredMount } from '../../src/mounts/layers.ts'
import { formatMountSource } from '../../src/mounts/source.ts'
import type { CommitId } from '../../src/names/commit-id.ts'
import type { Label } from '../../src/names/label.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { paths } from '../../src/store/layout.ts'
import { content, createTestStore, listContents, runStratum, type TestStore } from '../support/store.ts'

const FILES = { 'dir/file': content('read me through the mount', 10_000), other: content('never opened before', 9_000) }

/** A commit that no ref names, in a store where another label is left. */
async function unnamedCommit(store: TestStore): Promise<CommitId> {
  await store.importFiles('keep:v1', { f: content('keep') })
  const id = await store.importFiles('app:v1', FILES)
  await store.removeTag('app:v1')
  return id
}

/** A mount of a commit that is attached nowhere, by the store's own means. */
function detachedMount({ store }: TestStore, commit: CommitId): number {
  const source = formatMountSource({
    label: 'app' as Label,
    commit,
    store: store.id,
    generation: undefined,
    tag: undefined,
  })
  return createLayeredMount({ image: paths.image(store, commit), objects: paths.objects(store), source })
}

async function stays(store: TestStore, id: CommitId): Promise<void> {
  await collectGarbage(store, { now: true })
  const { commits, objects } = listContents(store.store.path)
  assert.ok(commits.includes(id), 'the mounted commit went')
  assert.equal(objects.length, 3, 'objects of the mounted commit went')
}

/** The kernel takes a superblock down some time after its last user is gone. */
async function goesAtLast(store: TestStore, id: CommitId): Promise<void> {
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(50)) {
    await collectGarbage(store, { now: true })
    if (!listContents(store.store.path).commits.includes(id)) return
  }
  assert.fail('the commit stays although nothing uses it any more')
}

function readThrough(folder: string): void {
  for (const [name, bytes] of Object.entries(FILES)) assert.equal(fs.readFileSync(`${folder}/${name}`, 'utf8'), bytes)
}

for (const form of ['detached', 'attached', 'loop'] as const) {
  test(`a commit that is mounted stays until it is unmounted (${form} form)`, async () => {
    process.env.STRATUM_MOUNT_FORM = form
    try {
      const store = createTestStore()
      await store.importFiles('keep:v1', { f: content('keep') })
      const id = await store.importFiles('app:v1', FILES)
      const mountpoint = await store.mount('app:v1')
      await store.removeTag('app:v1')
      await stays(store, id)
      const { stdout } = store.run(['gc', 'explain', id])
      assert.match(stdout, new RegExp(`the mount of app at ${mountpoint} since .* → commit`))
      readThrough(mountpoint)
      await store.unmount(mountpoint)
      await goesAtLast(store, id)
    } finally {
      delete process.env.STRATUM_MOUNT_FORM
    }
  })
}

test('a mount that is attached nowhere keeps its commit', async () => {
  const store = createTestStore()
  const id = await unnamedCommit(store)
  const mount = detachedMount(store, id)
  const { held } = await collectGarbage(store, { now: true })
  assert.deepEqual(held, [{ commit: id, openness: 'open' }])
  await stays(store, id)
  readThrough(`/proc/self/fd/${mount}`)
  assert.match(store.run(['gc', 'explain', id]).stdout, /somebody who has its image open/)
  close(mount)
  await goesAtLast(store, id)
})

test('a mount that was lazily unmounted keeps its commit as long as a file in it is open', async () => {
  const store = createTestStore()
  await store.importFiles('keep:v1', { f: content('keep') })
  const id = await store.importFiles('app:v1', FILES)
  const mountpoint = await store.mount('app:v1')
  await store.removeTag('app:v1')
  const folder = fs.openSync(`${mountpoint}/dir`, 'r')
  unmount(mountpoint, 'detach')
  await stays(store, id)
  assert.equal(fs.readFileSync(`/proc/self/fd/${folder}/file`, 'utf8'), FILES['dir/file'])
  fs.closeSync(folder)
  await goesAtLast(store, id)
})

test('a mount in another mount namespace keeps its commit', async () => {
  const store = createTestStore()
  const id = await unnamedCommit(store)
  const mountpoint = fs.mkdtempSync(`${store.scratch}/mount-`)
  const mount = detachedMount(store, id)
  attachMount(mount, mountpoint)
  close(mount)
  // The child gets copies of all mounts in a namespace of its own; here it is then unmounted.
  const child = await startIn(
    ['unshare', '--mount', '--propagation', 'private'],
    `cat ${mountpoint}/dir/file; read line`,
  )
  const ended = once(child, 'exit')
  try {
    unmount(mountpoint)
    await stays(store, id)
    const { stdout } = store.run(['gc', 'explain', id])
    assert.match(stdout, new RegExp(`the mount of app at ${mountpoint} that pid \\d+ sees`))
  } finally {
    child.stdin?.end('\n')
    await ended
  }
  await goesAtLast(store, id)
})

test('a clone of a mount that only a descriptor holds keeps its commit', async () => {
  const store = createTestStore()
  await store.importFiles('keep:v1', { f: content('keep') })
  const id = await store.importFiles('app:v1', FILES)
  const mountpoint = await store.mount('app:v1')
  const clone = cloneMount(mountpoint)
  await store.unmount(mountpoint)
  await store.removeTag('app:v1')
  await stays(store, id)
  readThrough(`/proc/self/fd/${clone}`)
  close(clone)
  await goesAtLast(store, id)
})

test('the upperdir of a HEAD that was re-mounted is not deleted while somebody still uses the old mount', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', FILES)
  const mountpoint = await store.mount('app')
  fs.writeFileSync(`${mountpoint}/dir/new`, content('written'))
  const folder = fs.openSync(`${mountpoint}/dir`, 'r')
  unmount(mountpoint, 'detach') // the old superblock lives on with the descriptor
  // What a re-mount of HEAD does with the old pair: it goes to the trash.
  const label = `${store.store.path}/refs/app`
  const item = `${store.store.path}/trash/1000-fold-00000000`
  fs.mkdirSync(item)
  for (const name of ['head', 'work']) fs.renameSync(`${label}/${name}`, `${item}/${name}`)
  fs.rmSync(`${label}/head.toml`)
  const { inUse } = await collectGarbage(store, { now: true })
  assert.deepEqual(inUse, [{ path: item, openness: 'open' }])
  assert.deepEqual(fs.readdirSync(`/proc/self/fd/${folder}`).sort(), ['file', 'new'])
  assert.match(store.run(['gc', '--now']).stderr, /stays in the trash: a mount that still lives uses it/)
  fs.closeSync(folder)
  for (const end = Date.now() + 60_000; fs.existsSync(item) && Date.now() < end; await sleep(50))
    await collectGarbage(store, { now: true })
  assert.equal(fs.existsSync(item), false)
  assert.deepEqual(fs.readdirSync(`${store.store.path}/trash`), [])
})

test('a workdir alone, and an upperdir whose base is gone, are recognised too', async () => {
  const store = createTestStore()
  await store.importFiles('keep:v1', { f: content('keep') })
  const id = await store.importFiles('app:v1', FILES)
  const mountpoint = await store.mount('app')
  const folder = fs.openSync(mountpoint, 'r')
  unmount(mountpoint, 'detach')
  const root = store.store.path
  fs.renameSync(`${root}/refs/app/work`, `${root}/trash/1000-half-made-00000000`)
  fs.renameSync(`${root}/refs/app`, `${root}/trash/1001-label-00000000`)
  fs.renameSync(`${root}/commits/${id}`, `${store.scratch}/base-that-was-lost`)
  const { inUse } = await collectGarbage(store, { now: true })
  assert.deepEqual(
    inUse.map(({ path, openness }) => [path.slice(root.length), openness]),
    [
      ['/trash/1000-half-made-00000000', 'open'],
      ['/trash/1001-label-00000000', 'open'],
    ],
  )
  fs.closeSync(folder)
})

test('a real commit that re-mounts HEAD on the fly leaves an upperdir that goes when nobody uses it', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', FILES)
  const mountpoint = await store.mount('app')
  fs.writeFileSync(`${mountpoint}/new`, content('written'))
  assert.equal(runStratum(store.store.path, ['commit', 'app:v2']).status, 0)
  const [item] = fs.readdirSync(`${store.store.path}/trash`)
  assert.match(item, /fold/)
  for (const end = Date.now() + 60_000; fs.readdirSync(`${store.store.path}/trash`).length > 0; await sleep(50)) {
    assert.ok(Date.now() < end)
    await collectGarbage(store, { now: true })
  }
  readThrough(mountpoint)
  assert.equal(fs.readFileSync(`${mountpoint}/new`, 'utf8'), content('written'))
  assert.equal(store.run(['fsck']).status, 0)
  await store.unmount('app')
})

/** A shell in a program that waits for input; resolves when it has read what is mounted. */
async function startIn(wrapper: readonly string[], script: string): Promise<ChildProcess> {
  const [program, ...args] = [...wrapper, 'sh', '-c', script]
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}
