import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { mock, test } from 'node:test'
import { paths } from '../../src/store/layout.ts'
import { createHashRecorder, openHashCache } from '../../src/capture/hash-cache.ts'
import { statPath } from '../../src/host/stat.ts'
import { verityOf } from '../../src/hashes/verity.ts'
import { startActor } from '../support/actor.ts'
import { runCli } from '../support/cli.ts'
import { createLab, LABEL, type Lab, openLab, writeFile } from '../support/lab.ts'

/** What the hash cache must not believe (docs/head.md 3). */
const TEXT = 'content '.repeat(40)

async function contentIn(lab: Lab, id: string, name: string): Promise<string> {
  const mountpoint = lab.makeFolder('look')
  await lab.mount(`app:${id}`, mountpoint)
  try {
    return fs.readFileSync(path.join(mountpoint, name), 'latin1')
  } finally {
    await lab.unmount(mountpoint)
  }
}

async function commitAndRead(lab: Lab, name: string): Promise<string> {
  const { commit } = await lab.commit()
  return contentIn(lab, commit.metadata.id, name)
}

test('the cache is used at all: a file that held still is not read again', async () => {
  const lab = await createLab({ base: TEXT })
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'one'), TEXT.replaceAll('c', '1'))
  fs.writeFileSync(path.join(lab.head, 'two'), TEXT.replaceAll('c', '2'))
  await using holder = await startActor()
  await holder.run(`os.chdir(${JSON.stringify(lab.head)})`)
  await lab.commit()
  poison(lab, TEXT.replaceAll('c', '1'), TEXT.replaceAll('c', '2'))
  assert.equal(await commitAndRead(lab, 'one'), TEXT.replaceAll('c', '2'), 'a wrong hash in the cache is believed')
})

test('after a boot nothing of the cache is believed', async () => {
  const lab = await createLab({ base: TEXT })
  const cli = async (boot: string, ...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runCli(lab, args, { STRATUM_BOOT_ID: boot })
    assert.equal(status, 0, stderr)
    return stdout.trim()
  }
  await cli('one', 'mount', 'app', lab.head)
  for (const digit of ['1', '2']) fs.writeFileSync(path.join(lab.head, digit), TEXT.replaceAll('c', digit))
  await using holder = await startActor()
  await holder.run(`os.chdir(${JSON.stringify(lab.head)})`)
  const before = await cli('one', 'commit', 'app', '-q')
  poison(lab, TEXT.replaceAll('c', '1'), TEXT.replaceAll('c', '2'))
  assert.equal(await cli('two', 'commit', 'app', '-q'), before)
})

/** Puts another digest in the place of one in the cache of HEAD. */
function poison(lab: Lab, text: string, other: string): void {
  const cache = paths.hashCache(lab.store, LABEL, 'head')
  const bytes = fs.readFileSync(cache)
  const at = bytes.indexOf(Buffer.from(verityOf(Buffer.from(text)), 'hex'))
  assert.ok(at > 0, 'the cache holds the file')
  bytes.write(verityOf(Buffer.from(other)), at, 'hex')
  fs.writeFileSync(cache, bytes)
}

test('one long write across the reading of the file', async () => {
  const lab = await createLab({ big: 'a'.repeat(1000) })
  await lab.mount()
  await using writer = await startActor()
  const length = 150_000_000
  await writer.run(`fd = os.open(${JSON.stringify(path.join(lab.head, 'big'))}, os.O_RDWR)`)
  await writer.run(`os.truncate(fd, ${length}); old = b'a' * ${length}; new = b'b' * ${length}; os.pwrite(fd, old, 0)`)
  const writing = writer.run(`os.pwrite(fd, new, 0)`)
  await lab.commit()
  await writing
  const { commit } = await lab.commit()
  const mountpoint = lab.makeFolder('look')
  await lab.mount(`app:${commit.metadata.id}`, mountpoint)
  const committed = fs.readFileSync(path.join(mountpoint, 'big'))
  assert.ok(committed.equals(Buffer.alloc(length, 'b')), 'every byte is that of the last write')
})

test('a store into a page that is dirty already moves no time, and is in the next commit', async () => {
  const lab = await createLab({ file: TEXT })
  await lab.mount()
  await using writer = await startActor()
  const file = JSON.stringify(path.join(lab.head, 'file'))
  await writer.run(`fd = os.open(${file}, os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd)`)
  for (const letter of ['A', 'B', 'C', 'D']) {
    await writer.run(`m[0:1] = b'${letter}'`)
    assert.equal((await commitAndRead(lab, 'file'))[0], letter)
    assert.equal(await lab.import(lab.head, 'through'), (await lab.commit()).commit.metadata.id)
  }
  await writer.run(`m[0:1] = b'E'; m.close()`)
  assert.equal((await commitAndRead(lab, 'file'))[0], 'E')
})

const HAS_LOOP = fs.existsSync('/dev/loop-control')

test('on tmpfs a store into a page that was read moves no time at all, and is in the next commit', {
  skip: !HAS_LOOP,
}, async t => {
  process.env.STRATUM_MOUNT_FORM = 'loop' // the kernel takes no image from a file on tmpfs
  t.after(() => delete process.env.STRATUM_MOUNT_FORM)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tmpfs-'))
  execFileSync('mount', ['-t', 'tmpfs', 'stratum', folder])
  const lab = openLab(folder)
  writeFile(path.join(lab.makeFolder('base'), 'file'), TEXT)
  await lab.import(path.join(folder, 'base'))
  await lab.mount()
  const file = path.join(lab.head, 'file')
  fs.appendFileSync(file, 'copied up')
  await lab.commit({ consistency: 'live' })
  fs.appendFileSync(file, 'copied up')
  await using writer = await startActor()
  for (const letter of ['A', 'B', 'C']) {
    await writer.run(
      `fd = os.open(${JSON.stringify(file)}, os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd); m[0]; m[0:1] = b'${letter}'; m.close()`,
    )
    assert.equal((await commitAndRead(lab, 'file'))[0], letter)
    const outside = path.join(folder, 'base/file')
    await writer.run(
      `fd = os.open(${JSON.stringify(outside)}, os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd); m[0]; m[0:1] = b'${letter}'; m.close()`,
    )
    assert.equal((await contentIn(lab, await lab.import(path.dirname(outside)), 'file'))[0], letter)
    fs.appendFileSync(file, 'more')
  }
})

test('of a mounted image every file looks as its maker said, whatever is in it', async () => {
  const lab = await createLab()
  const source = lab.makeFolder('source')
  const view = lab.makeFolder('view')
  const ids: string[] = []
  for (const letter of ['a', 'b']) {
    fs.writeFileSync(path.join(source, 'file'), letter.repeat(500))
    fs.utimesSync(path.join(source, 'file'), 1, 1)
    fs.utimesSync(source, 1, 1)
    ids.push(await lab.import(source))
  }
  for (const id of [...ids, ...ids]) {
    await lab.mount(`app:${id}`, view)
    assert.equal(await lab.import(view, 'through'), id)
    await lab.unmount(view)
  }
})

test('when the clock was turned back while files were read, nothing is remembered', t => {
  const cache = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'cache-')), 'cache')
  const stat = statPath(import.meta.filename)
  const file = { digest: 'ab'.repeat(32), hasXattrs: false }
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.after(() => mock.timers.reset())
  const turned = createHashRecorder()
  turned.add(stat, file)
  mock.timers.setTime(Date.now() - 60_000)
  turned.save(cache, 7n)
  assert.equal(fs.existsSync(cache), false)
  const steady = createHashRecorder()
  steady.add(stat, file)
  steady.save(cache, 7n)
  assert.deepEqual(openHashCache(cache, 7n).find(stat), file)
  assert.equal(openHashCache(cache, 8n).find(stat), undefined, 'of another mount')
  assert.equal(openHashCache(cache, undefined).find(stat), undefined)
})

test('a damaged cache is no cache, and ends no search', () => {
  const cache = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'cache-')), 'cache')
  const stat = statPath(import.meta.filename)
  const recorder = createHashRecorder()
  recorder.add(stat, { digest: 'ab'.repeat(32), hasXattrs: false })
  recorder.save(cache, 7n)
  const bytes = fs.readFileSync(cache)
  bytes.fill(1, 128) // every slot is taken, by nobody
  fs.writeFileSync(cache, bytes)
  assert.equal(openHashCache(cache, 7n).find(stat), undefined)
  for (const length of [0, 5, 127, 128, 200]) {
    fs.writeFileSync(cache, bytes.subarray(0, length))
    assert.equal(openHashCache(cache, 7n).find(stat), undefined)
  }
})
