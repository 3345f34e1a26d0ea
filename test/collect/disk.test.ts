import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { fileSystemSpace } from '../../src/host/files.ts'
import { content, createTestStore, listContents, type TestStore } from '../support/store.ts'

const mounted: string[] = []
after(() => {
  for (const place of mounted) execFileSync('umount', [place])
})

/** A store on a small file system of its own, without blocks reserved for root. */
function storeOnSmallDisk(): { store: TestStore; place: string } {
  const scratch = fs.mkdtempSync(`${process.env.TMPDIR}/disk-`)
  const place = `${scratch}/mounted`
  fs.mkdirSync(place)
  execFileSync('truncate', ['-s', '24M', `${scratch}/image`])
  execFileSync('mkfs.ext4', ['-q', '-b', '4096', '-m', '0', '-O', '^has_journal', `${scratch}/image`])
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
