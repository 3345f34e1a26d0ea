import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileSystemSpace } from '../../src/host/files.ts'
import { unmount } from '../../src/host/mount-api.ts'
import { content, createTestStore, listContents, type TestStore } from '../support/store.ts'

const mounted: string[] = []
after(() => {
  for (const place of mounted) execFileSync('umount', ['--lazy', place])
})

const MAKE = {
  ext4: ['24M', 'mkfs.ext4', '-q', '-b', '4096', '-m', '0', '-O', '^has_journal'],
  xfs: ['320M', 'mkfs.xfs', '-q'],
} as const

/** A store on a small file system of its own, without blocks reserved for root. */
function storeOnSmallDisk(type: keyof typeof MAKE = 'ext4'): { store: TestStore; place: string } {
  const scratch = fs.mkdtempSync(`${process.env.TMPDIR}/disk-`)
  const place = `${scratch}/mounted`
  fs.mkdirSync(place)
  const [size, program, ...args] = MAKE[type]
  execFileSync('truncate', ['-s', size, `${scratch}/image`])
  execFileSync(program, [...args, `${scratch}/image`])
  execFileSync('mount', ['-o', 'loop', `${scratch}/image`, place])
  mounted.push(place)
  return { store: createTestStore(`${place}/store`), place }
}

/** Fills a file system to the last block. */
function fill(place: string): void {
  const file = fs.openSync(`${place}/filler`, 'w')
  try {
    for (const bytes of [1 << 20, 4096]) writeUntilFull(file, Buffer.alloc(bytes, 1))
  } finally {
    fs.closeSync(file)
  }
}

function writeUntilFull(file: number, piece: Buffer): void {
  for (;;) {
    try {
      if (fs.writeSync(file, piece) < piece.length) return
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'ENOSPC')
      return
    }
  }
}

test('on a full disk a collection frees space, at once', async () => {
  const { store, place } = storeOnSmallDisk()
  const kept = await store.importFiles('app:v1', { a: content('stays', 100_000) })
  for (const tag of ['v2', 'v3'])
    await store.importFiles(`app:${tag}`, { [tag]: content(tag, 3_000_000), small: content(`s${tag}`) })
  for (const tag of ['v2', 'v3']) await store.removeTag(`app:${tag}`)
  fill(place)
  assert.equal(fileSystemSpace(place).freeBytes, 0)
  const { status, json, stderr } = store.run(['gc', '--json'])
  assert.equal(status, 0, stderr)
  assert.deepEqual([json.commits, json.objects], [2, 4])
  assert.ok(fileSystemSpace(place).freeBytes > 6_000_000, 'nothing was freed')
  assert.deepEqual(fs.readdirSync(`${store.store.path}/trash`), [])
  assert.deepEqual(listContents(store.store.path).commits, [kept])
  assert.equal(store.run(['fsck']).status, 0)
})

test('the trash is what a full disk is freed from first', async () => {
  const { store, place } = storeOnSmallDisk()
  await store.importFiles('app:v1', { a: content('stays') })
  await store.importFiles('app:v2', { b: content('gone', 5_000_000) })
  await store.removeTag('app:v2')
  assert.equal(store.run(['gc']).status, 0)
  assert.equal(fs.readdirSync(`${store.store.path}/trash`).length, 1)
  fill(place)
  assert.match(store.run(['gc']).stdout, /^freed 5\.\d+ MB/)
  assert.deepEqual(fs.readdirSync(`${store.store.path}/trash`), [])
})

for (const type of ['ext4', 'xfs'] as const) {
  test(`where no directory can be made any more, old upperdirs go that nobody uses, and only those (${type})`, async () => {
    const { store, place } = storeOnSmallDisk(type)
    const { path } = store.store
    const folders: number[] = []
    for (const label of ['free', 'used']) {
      await store.importFiles(`${label}:v1`, { 'dir/f': content(label) })
      const mountpoint = await store.mount(label)
      fs.writeFileSync(`${mountpoint}/dir/written`, content('written', 2_000_000))
      const folder = `${mountpoint}/work`
      fs.mkdirSync(folder)
      fs.writeFileSync(`${folder}/mine`, content('not the kernel’s'))
      if (label === 'used') folders.push(fs.openSync(folder, 'r'))
      unmount(mountpoint, 'detach')
      // What a re-mount of HEAD does with the old pair.
      fs.mkdirSync(`${path}/trash/1000-fold-0000000${folders.length}`)
      for (const name of ['head', 'work'])
        fs.renameSync(`${path}/refs/${label}/${name}`, `${path}/trash/1000-fold-0000000${folders.length}/${name}`)
      fs.rmSync(`${path}/refs/${label}/head.toml`)
    }
    fill(place)
    assert.throws(() => fs.mkdirSync(`${path}/trash/probe`), /ENOSPC/)
    let { json, stderr } = store.run(['gc', '--json'])
    // The kernel takes a superblock down some time after its last user is gone.
    for (const end = Date.now() + 60_000; json?.inUse.length !== 1 && Date.now() < end; await sleep(50))
      ({ json, stderr } = store.run(['gc', '--json']))
    assert.deepEqual(json?.inUse, [{ path: `${path}/trash/1000-fold-00000001`, openness: 'open' }], stderr)
    assert.deepEqual(fs.readdirSync(`${path}/trash`), ['1000-fold-00000001'])
    assert.ok(fileSystemSpace(place).freeBytes >= 2_000_000, 'nothing was freed')
    assert.deepEqual(fs.readdirSync(`/proc/self/fd/${folders[0]}`), ['mine'])
    for (const folder of folders) fs.closeSync(folder)
    fs.rmSync(`${process.env.STRATUM_RUN}/state`) // of the mounts that were taken away behind Stratum's back
  })
}

test('a store on a read-only file system can be looked at, and is left alone', async () => {
  const { store, place } = storeOnSmallDisk()
  await store.importFiles('app:v1', { a: content('stays') })
  await store.importFiles('app:v2', { b: content('garbage') })
  await store.removeTag('app:v2')
  execFileSync('mount', ['-o', 'remount,ro', place])
  const before = listContents(store.store.path)
  for (const args of [['gc', '--dry-run'], ['gc', 'explain', 'app:v1'], ['verify'], ['fsck'], ['du'], ['du', 'app']]) {
    const { status, stderr } = store.run(args)
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`)
  }
  for (const args of [['gc'], ['gc', '--now'], ['fsck', '--repair']]) {
    const { status, stdout, stderr } = store.run(args)
    if (args[0] === 'gc') assert.equal(status, 11, stderr)
    assert.doesNotMatch(stdout, /took|freed|repaired/)
  }
  assert.deepEqual(listContents(store.store.path), before)
})
