import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { importDirectory } from '../../src/capture/import-directory.ts'
import { touchProbe } from '../../src/capture/probe.ts'
import { createReaderPool } from '../../src/capture/reader-pool.ts'
import { close, openDirectory, readDirectory } from '../../src/host/descriptors.ts'
import { createStaging } from '../../src/store/staging.ts'
import { createLab } from '../support/lab.ts'
import { scaled } from '../support/scale.ts'

function listed(directory: string): string[] {
  const fd = openDirectory(directory)
  const names = readDirectory(fd).map(({ name }) => name)
  close(fd)
  return names
}

test('a new file that got the inode number of a hard link that was read before is not taken for it', async () => {
  for (let tries = 1; !(await readsReusedNumber()); tries++)
    assert.ok(tries < 100, 'this file system does not give freed inode numbers out again')
})

/** False if somebody else on this file system got the number first. */
async function readsReusedNumber(): Promise<boolean> {
  const lab = await createLab()
  const source = lab.makeFolder('source')
  const at = (name: string): string => path.join(source, name)
  for (const name of ['a', 'b', 'c', 'd']) fs.writeFileSync(at(name), `${name} `.repeat(100))
  const [first, second, third, fourth] = listed(source)
  fs.linkSync(at(first), at('more')) // in no order that matters: the first name is read before the third
  fs.unlinkSync(at(second))
  fs.renameSync(at('more'), at(second))
  let exchanged = false
  let isReused = false
  using staging = createStaging(lab.store)
  await using pool = createReaderPool(lab.store, staging)
  const { tree, unstable } = await importDirectory(lab.store, source, {
    cachePath: path.join(lab.folder, 'cache'),
    probe: touchProbe(lab.store),
    mounts: 'refuse',
    pool: {
      ...pool,
      read(directory, name, bytes, done) {
        pool.read(directory, name, bytes, done)
        if (exchanged) return
        exchanged = true
        const { ino } = fs.statSync(at(first))
        fs.unlinkSync(at(first))
        fs.unlinkSync(at(second))
        fs.writeFileSync(at('new'), 'new '.repeat(100))
        isReused = fs.statSync(at('new')).ino === ino
        fs.linkSync(at('new'), at('new2'))
        fs.renameSync(at('new'), at(third))
        fs.renameSync(at('new2'), at(fourth))
      },
    },
  })
  if (!isReused) return false
  const entryOf = (name: string): unknown => tree.children?.get(name)?.entry
  assert.equal(entryOf(third), entryOf(fourth))
  assert.notEqual(entryOf(third), entryOf(first))
  assert.ok(unstable.length > 0)
  return true
}

test('directories are found where a listing does not tell what a name is', async t => {
  const lab = await createLab()
  const image = path.join(lab.folder, 'image')
  execFileSync('truncate', ['-s', '16M', image])
  try {
    execFileSync('mkfs.ext4', ['-q', '-O', '^filetype', image])
    execFileSync('mount', ['-o', 'loop', image, lab.makeFolder('mounted')])
  } catch {
    return t.skip('no loop device, or no mkfs.ext4')
  }
  const files = { 'd/e/file': 'deep '.repeat(50), top: 'top' }
  for (const root of ['mounted', 'plain']) {
    fs.rmSync(path.join(lab.makeFolder(root), 'lost+found'), { recursive: true, force: true })
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(lab.folder, root, name)
      fs.mkdirSync(path.dirname(file), { recursive: true })
      fs.writeFileSync(file, text)
      fs.utimesSync(file, 1, 1)
    }
    for (const name of ['d/e', 'd', '']) fs.utimesSync(path.join(lab.folder, root, name), 1, 1)
  }
  assert.equal(
    await lab.import(path.join(lab.folder, 'mounted')),
    await lab.import(path.join(lab.folder, 'plain'), 'other'),
  )
})

test('a directory that others turn over is read without an error, each file whole, and what moved is said', async () => {
  const lab = await createLab()
  const source = lab.makeFolder('source')
  fs.mkdirSync(path.join(source, 'd'))
  fs.mkdirSync(path.join(source, 'e'))
  fs.writeFileSync(path.join(source, 'd/always'), 'always '.repeat(50))
  const writer = spawn('python3', [path.join(import.meta.dirname, '../support/rewriter.py'), path.join(source, 'd')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(writer.stdout, 'data')
  const look = lab.makeFolder('look')
  for (let round = 0; round < scaled(40); round++) {
    const id = await lab.import(source)
    await lab.mount(`app:${id}`, look)
    assert.equal(fs.readFileSync(path.join(look, 'd/always'), 'utf8'), 'always '.repeat(50))
    for (const name of ['rewritten', 'second'])
      assert.match(fs.readFileSync(path.join(look, 'd', name), 'utf8'), /^(.)\1{4999}$/)
    await lab.unmount(look)
  }
  writer.stdin.end()
  await once(writer, 'close')
  const log = fs.readFileSync(path.join(lab.paths.label, 'log'), 'utf8')
  assert.match(log, /"unstable":\[/)
})
