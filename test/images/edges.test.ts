import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { close, makeDirectoryAt, openDirectory, openDirectoryAt } from '../../src/host/descriptors.ts'
import { setXattr } from '../../src/host/xattrs.ts'
import { emptyImage } from '../../src/tree/append.ts'
import { type Change, childChange, type Entry } from '../../src/tree/entry.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { dumpOfChange, dumpOfImage, normalizeDump } from '../support/dump.ts'
import { parseBytes, writeToMemory } from '../support/images.ts'
import { importInto, newStore, objectFiles } from '../support/imported.ts'
import { assertMounted, assertObjects, importAndCompare } from '../support/kept.ts'
import { dir, file, link, literal, objectFile } from '../support/literal.ts'
import { oracleDump, oracleImage } from '../support/oracle.ts'
import { mountTmpfs } from '../support/real-tree.ts'
import { checkStore, verifyDump } from '../support/verifier.ts'

/** Trees at the edges of the formats: on tmpfs, which takes more than most, and goes with this test's mount namespace. */
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'edges-'))
const source = mountTmpfs(path.join(folder, 'source'))
const reference = path.join(folder, 'reference.cfs')

function newDirectory(name: string): string {
  const directory = path.join(source, name)
  fs.mkdirSync(directory)
  return directory
}

/** Imports a directory, compares it with everybody, mounts it and takes it away. */
async function assertKept(directory: string): Promise<void> {
  const store = newStore()
  const kept = await importAndCompare(store, 'edge', directory)
  assert.deepEqual(kept.commit.unstable, [])
  await assertMounted(store, kept)
  assertObjects(store)
  fs.rmSync(store.path, { recursive: true })
}

test('100,000 names in one directory, some of 255 bytes', async () => {
  const directory = newDirectory('names')
  for (let i = 0; i < 100_000; i++) {
    const name = i % 500 === 0 ? String(i).padEnd(255, '_') : `${i % 7 === 0 ? '' : '\u00e4'}${i}`
    fs.writeFileSync(path.join(directory, name), i % 3 === 0 ? String(i) : '')
  }
  await assertKept(directory)
})

/** Makes directories one inside the other and returns a descriptor of the last. */
function makeDeep(directory: string, depth: number, nameOf: (level: number) => string): number {
  let at = openDirectory(directory)
  for (let level = 0; level < depth; level++) {
    makeDirectoryAt(at, nameOf(level), 0o755)
    const below = openDirectoryAt(at, nameOf(level))
    close(at)
    at = below
    if (level % 100 === 99)
      fs.writeFileSync(`/proc/self/fd/${at}/file`, `level ${level}, in more bytes than an image would hold itself`)
  }
  return at
}

test('1,000 directories, one in the other, with a path of 13,000 bytes', async () => {
  const directory = newDirectory('deep')
  const last = makeDeep(directory, 1000, level => `level-${String(level).padStart(6, '0')}`)
  fs.symlinkSync('target', `/proc/self/fd/${last}/link`)
  close(last)
  await assertKept(directory)
})

test('2,000 directories, one in the other, are kept, and one more is refused', async () => {
  const directory = newDirectory('deepest')
  const last = makeDeep(directory, 2000, () => 'd')
  await assertKept(directory)
  makeDirectoryAt(last, 'one more', 0o755)
  close(last)
  await assert.rejects(
    importInto(newStore(), 'edge', directory),
    error => isStratumError(error, 'unsupported') && error.message.includes('2000'),
  )
})

test('symlinks of every length near an edge, up to 4095 bytes', async () => {
  const directory = newDirectory('symlinks')
  const lengths = [...range(1, 70), ...range(900, 1100), ...range(1980, 2070), ...range(3880, 4095)]
  for (const length of lengths) fs.symlinkSync('t'.repeat(length), path.join(directory, String(length)))
  for (const length of [1, 2000, 4095]) setXattr(path.join(directory, String(length)), 'trusted.a', 'x'.repeat(300))
  await assertKept(directory)
})

test('70,000 names of one file', async () => {
  const directory = newDirectory('links')
  fs.mkdirSync(path.join(directory, 'below'))
  fs.writeFileSync(path.join(directory, 'first'), 'one file'.repeat(20))
  for (let i = 0; i < 70_000; i++)
    fs.linkSync(path.join(directory, 'first'), path.join(directory, i % 2 === 0 ? '' : 'below', `l${i}`))
  await assertKept(directory)
})

test('sparse files of more than 4 GiB keep their holes', async () => {
  const directory = newDirectory('large')
  const write = (name: string, size: number, pieces: readonly number[]): void => {
    const file = fs.openSync(path.join(directory, name), 'w')
    fs.ftruncateSync(file, size)
    for (const at of pieces) fs.writeSync(file, Buffer.from(`data at ${at}`), 0, undefined, at)
    fs.closeSync(file)
  }
  write('ends', 2 ** 32 + 12_345, [0, 2 ** 31 - 3, 2 ** 32 + 12_300])
  write('hole', 2 ** 24 + 1, [])
  const store = newStore()
  const kept = await importAndCompare(store, 'edge', directory)
  await assertMounted(store, kept)
  for (const object of objectFiles(store))
    assert.ok(fs.statSync(object).blocks * 512 < 2 ** 20, 'an object lost its holes')
  assert.deepEqual(checkStore(store.path).problems, []) // the fsverity program would read every hole
})

/** What a set of these xattrs counts against the limit of docs/format.md 5. */
function counted(xattrs: readonly (readonly [string, string])[]): number {
  return xattrs.reduce((sum, [name, value]) => sum + 7 + name.length + value.length, 12)
}

test('a set of xattrs as large as it may be is kept, and one byte more is refused by name', async () => {
  const directory = newDirectory('xattrs')
  const many = Array.from({ length: 200 }, (_, i) => [`user.n${i}`, `value ${i}`] as const)
  const set = (name: string, xattrs: readonly (readonly [string, string])[]): void => {
    fs.writeFileSync(path.join(directory, name), 'x'.repeat(100))
    for (const [key, value] of xattrs) setXattr(path.join(directory, name), key, value)
  }
  // More than 128 that two files share: an inode refers to 128 of them and holds the others itself.
  set('many', many)
  set('many-too', many)
  const rest = 32_606 - counted([['user.large', '']])
  set('full', [['user.large', 'v'.repeat(rest)]])
  set('full-of-two', [
    ['user.a', 'v'.repeat(16_000)],
    [
      'trusted.overlay.b',
      'w'.repeat(
        32_606 -
          counted([
            ['user.a', ''],
            ['trusted.overlay.b', ''],
          ]) -
          16_000,
      ),
    ],
  ])
  await assertKept(directory)
  set('too-full', [['user.large', 'v'.repeat(rest + 1)]])
  await assert.rejects(
    importInto(newStore(), 'edge', directory),
    error =>
      isStratumError(error, 'unsupported') && error.message.includes('too-full') && error.message.includes('32607'),
  )
})

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

/** Compares an image of a tree that no file system here would hold. */
function compareChange(change: Change): void {
  const tree = mergeTree(emptyImage(), change)
  const { bytes, digest } = writeToMemory(tree)
  const dump = dumpOfChange(change)
  assert.equal(digest, oracleImage(dump, reference), 'mkcomposefs')
  assert.ok(bytes.equals(fs.readFileSync(reference)))
  const { id, merkle_root, image_digest } = verifyDump(dump)
  const hashes = hashTree(tree)
  assert.deepEqual(
    { id, merkle_root, image_digest },
    { id: hashes.id, merkle_root: hashes.merkleRoot, image_digest: digest },
  )
  assert.ok(normalizeDump(dumpOfImage(parseBytes(bytes))) === normalizeDump(oracleDump(reference)))
}

test('more directories in one than a link count of 16 bits can say', () => {
  const change = literal({ '': dir() })
  for (let i = 0; i < 65_600; i++) childChange(change, `d${i}`).entry = dir()
  compareChange(change)
})

test('sizes around every edge of the list of chunks', () => {
  const change = literal({ '': dir() })
  for (const base of [4096, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 43, 3 * 2 ** 43, 2 ** 52])
    for (const size of [base - 1, base, base + 1]) childChange(change, `s${size}`).entry = objectFile('1', size)
  for (const size of [65, 66, 4095]) childChange(change, `s${size}`).entry = objectFile('2', size)
  compareChange(change)
})

test('tails of every length at every place in a block', () => {
  const change = literal({ '': dir() })
  // Each xattr moves what follows by 4 bytes, so that inodes with a tail meet the end of a block in all ways.
  for (let i = 0; i < 2000; i++) {
    const xattrs = [['user.pad', `${i}${'.'.repeat((i * 37) % 700)}`]] as const
    const entry: Entry =
      i % 3 === 0
        ? link('t'.repeat(1 + ((i * 61) % 4095)), { xattrs })
        : i % 3 === 1
          ? file('c'.repeat(i % 65), { xattrs })
          : dir({ xattrs })
    childChange(change, `n${i}`).entry = entry
  }
  compareChange(change)
})

test('a root whose xattrs push it out of the first block, and one that everything hides behind', () => {
  compareChange(
    literal({
      '': dir({
        xattrs: [
          ['user.large', 'v'.repeat(30_000)],
          ['security.selinux', 'label'],
        ],
      }),
      a: file('x'),
    }),
  )
  const all = literal({ '': dir() })
  for (let i = 0; i < 256; i++)
    childChange(all, i.toString(16).padStart(2, '0')).entry = i % 2 === 0 ? dir() : file('mine')
  compareChange(all)
})
