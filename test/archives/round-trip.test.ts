import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { ExportFormat } from '../../src/archives/formats.ts'
import type { Change } from '../../src/tree/entry.ts'
import { createRandom } from '../support/random.ts'
import { randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { gnuTar, makeFullDirectory, openWorkshop, run, withoutSockets } from './workshop.ts'

const FORMATS: readonly ExportFormat[] = ['tar', 'tar.gz', 'tar.zst', 'oci']
const TREES = 60

test('a random tree that is exported and imported again is the same commit, and twice exported the same bytes', async () => {
  const shop = openWorkshop()
  const other = openWorkshop()
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const tree = withoutSockets(randomTree(random, random.pick([5, 40, 150])))
    const id = await shop.commitOf(tree, random)
    const format = FORMATS[seed % FORMATS.length]
    const [file, again] = ['a', 'b'].map(name => path.join(shop.folder, `${name}.${format}`))
    await shop.exportTo(id, file, format)
    await shop.exportTo(id, again, format)
    assert.ok(fs.readFileSync(file).equals(fs.readFileSync(again)), `seed ${seed}: ${format} differs from time to time`)
    const { metadata } = await other.importArchive(file)
    assert.equal(other.dump(metadata.id), shop.dump(id), `seed ${seed}: the tree differs behind ${format}`)
    assert.equal(metadata.id, id, `seed ${seed}: the commit differs behind ${format}`)
  }
})

test('sockets, which tar cannot hold, are named and left out', async () => {
  const shop = openWorkshop()
  const common = { uid: 0, gid: 0, seconds: 1, nanoseconds: 2, size: 0, digest: undefined, data: '', device: 0 }
  const file = { ...common, mode: 0o100644, xattrs: [], linked: false }
  const folder = { ...file, mode: 0o040755 }
  const socket = { ...file, mode: 0o140755, linked: true }
  const children = new Map<string, Change>([
    ['file', { entry: file }],
    ['socket', { entry: socket }],
    ['sub', { entry: folder, children: new Map([['other name', { entry: socket }]]) }],
  ])
  const tree = { entry: folder, children }
  const id = await shop.commitOf(tree, createRandom(1))
  for (const format of FORMATS) {
    const target = path.join(shop.folder, `sockets.${format}`)
    const { leftOut } = await shop.exportTo(id, target, format)
    assert.deepEqual(leftOut, ['socket', 'sub/other name'])
    const { metadata } = await shop.importArchive(target)
    assert.equal(metadata.id, await shop.commitOf(withoutSockets(tree), createRandom(1)))
  }
})

test('a directory with everything in it is the same commit by every way there is', async () => {
  const shop = openWorkshop()
  const directory = path.join(shop.folder, 'full')
  makeFullDirectory(directory)
  const id = await shop.importDirectory(directory)
  const files = new Map<string, string>()
  const pack = (name: string, ...args: string[]): void => {
    const file = path.join(shop.folder, name)
    gnuTar('--format=pax', ...args, '-C', directory, '-cf', file, '.')
    files.set(`GNU tar ${args.join(' ')}`, file)
  }
  pack('plain.tar')
  pack('sparse-0.0.tar', '--sparse', '--sparse-version=0.0')
  pack('sparse-0.1.tar', '--sparse', '--sparse-version=0.1')
  pack('sparse-1.0.tar', '--sparse', '--sparse-version=1.0')
  pack('gz.tar.gz', '--gzip')
  pack('zst.tar.zst', '--zstd')
  for (const format of FORMATS) {
    const file = path.join(shop.folder, `own.${format}`)
    await shop.exportTo(id, file, format)
    files.set(`our ${format}`, file)
  }
  for (const [name, file] of files) {
    const other = openWorkshop()
    const { metadata } = await other.importArchive(file)
    assert.equal(other.dump(metadata.id), shop.dump(id), `the tree differs behind ${name}`)
    assert.equal(metadata.id, id, `the commit differs behind ${name}`)
  }
})

test('GNU tar unpacks what was exported to the tree that was imported', async () => {
  const shop = openWorkshop()
  const directory = path.join(shop.folder, 'full')
  makeFullDirectory(directory)
  const id = await shop.importDirectory(directory)
  for (const format of ['tar', 'tar.gz', 'tar.zst'] as const) {
    const file = path.join(shop.folder, `own.${format}`)
    const unpacked = path.join(shop.folder, `unpacked.${format}`)
    fs.mkdirSync(unpacked)
    await shop.exportTo(id, file, format)
    gnuTar('-C', unpacked, '--same-permissions', '--same-owner', '-xf', file)
    assert.equal(
      run(
        'diff',
        '--recursive',
        '--no-dereference',
        '--exclude=fifo',
        '--exclude=character',
        '--exclude=block',
        directory,
        unpacked,
      ),
      '',
    )
    assert.equal(await shop.importDirectory(unpacked), id)
  }
})

test("GNU tar's own format with sparse files, long names and links keeps all but nanoseconds and attributes", async () => {
  const shop = openWorkshop()
  const directory = path.join(shop.folder, 'full')
  makeFullDirectory(directory)
  const [file, unpacked] = ['gnu.tar', 'unpacked'].map(name => path.join(shop.folder, name))
  run('tar', '--numeric-owner', '--format=gnu', '--sparse', '-C', directory, '-cf', file, '.')
  fs.mkdirSync(unpacked)
  run('tar', '--numeric-owner', '--same-permissions', '-C', unpacked, '-xf', file)
  const { metadata } = await shop.importArchive(file)
  assert.equal(metadata.id, await shop.importDirectory(unpacked))
})
