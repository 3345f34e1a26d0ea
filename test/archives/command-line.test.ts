import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { hashOfStore, ociLayout, openWorkshop, packed, run, type Workshop } from './workshop.ts'

const PROGRAM = path.resolve(import.meta.dirname, '../../bin/stratum')
const shop = openWorkshop()
const at = (name: string): string => path.join(shop.folder, name)
fs.writeFileSync(
  at('good.tar'),
  await packed([{ name: 'file' }, 'content'], { name: 'link', type: 'symlink', linkname: 'file' }),
)
const first = shop.cli('import', 'good.tar', '--label', 'app', '--tag', 'v1')
const id = first.stdout.trim().replace('app:', '')

/** With bytes on stdin, and stdout as bytes. */
function pipe(input: Buffer, ...args: string[]): { status: number | null; stdout: Buffer; stderr: string } {
  const { status, stdout, stderr } = spawnSync(PROGRAM, [...args, '--store', shop.context.store.path], {
    input,
    maxBuffer: 1 << 28,
  })
  return { status, stdout, stderr: stderr.toString() }
}

test('import prints the commit of an archive, and says how much was in it', () => {
  assert.match(first.stdout, /^app:[0-9a-f]{64}\n$/)
  assert.match(first.stderr, /^2 files, 7 B\n$/)
  assert.equal(first.status, 0)
})

test('import - reads stdin, and what an archive is its bytes tell, not its name', () => {
  const bytes = fs.readFileSync(at('good.tar'))
  for (const input of [bytes, zlib.gzipSync(bytes), zlib.zstdCompressSync(bytes)])
    assert.equal(pipe(input, 'import', '-', '--label', 'app').stdout.toString(), `app:${id}\n`)
  fs.writeFileSync(at('misnamed.tar.gz'), zlib.zstdCompressSync(bytes))
  assert.equal(shop.cli('import', 'misnamed.tar.gz', '--label', 'app', '-q').stdout, `app:${id}\n`)
})

test('export - writes to stdout, in the format that is named; without one it is a wrong usage', () => {
  for (const format of ['tar', 'tar.gz', 'tar.zst', 'oci', 'cfs']) {
    const { status, stdout, stderr } = pipe(Buffer.alloc(0), 'export', 'app:v1', '-', '--format', format)
    assert.equal(status, 0, stderr)
    const file = at(`out.${format}`)
    assert.equal(shop.cli('export', 'app:v1', file).status, 0)
    assert.ok(fs.readFileSync(file).equals(stdout), `${format} on stdout and in a file differ`)
    if (format !== 'cfs') assert.equal(pipe(stdout, 'import', '-', '--label', 'app').stdout.toString(), `app:${id}\n`)
  }
  assert.equal(pipe(Buffer.alloc(0), 'export', 'app:v1', '-').status, 2)
  assert.equal(pipe(Buffer.alloc(0), 'export', 'app:v1', '-', '--format', 'zip').status, 2)
  assert.equal(pipe(Buffer.alloc(0), 'export', 'app:v1', '-', '--format', 'tar', '--json').status, 2)
  assert.equal(shop.cli('export', 'app:v1', 'name-without-ending').status, 2)
})

test('a missing tag leaves no file; an existing file stays, unless --force', () => {
  fs.mkdirSync(at('empty'))
  const missing = shop.cli('export', 'app:none', 'empty/x.tar')
  assert.equal(missing.status, 4)
  assert.deepEqual(fs.readdirSync(at('empty')), [])
  assert.equal(shop.cli('export', 'nobody:v1', 'empty/x.tar').status, 4)
  assert.deepEqual(fs.readdirSync(at('empty')), [])
  fs.writeFileSync(at('there.tar'), 'mine')
  const refused = shop.cli('export', 'app:v1', 'there.tar')
  assert.deepEqual([refused.status, fs.readFileSync(at('there.tar'), 'utf8')], [5, 'mine'])
  assert.match(refused.stderr, /there\.tar exists\n .*--force/)
  assert.equal(shop.cli('export', 'app:v1', 'there.tar', '--force').status, 0)
  assert.equal(shop.cli('import', 'there.tar', '--label', 'app', '-q').stdout, `app:${id}\n`)
  fs.mkdirSync(at('directory.tar'))
  assert.equal(shop.cli('export', 'app:v1', 'directory.tar', '--force').status, 2)
  assert.equal(shop.cli('export', 'app:v1', 'no/such/folder.tar').status, 4)
})

test('the image alone says that the objects are not in it, and is the image of the commit', () => {
  const { stderr, stdout, status } = shop.cli('export', 'app:v1', 'alone.cfs')
  assert.deepEqual([status, stdout], [0, `app:${id}\n`])
  assert.match(stderr, /the objects, are not in it/)
  const stored = path.join(shop.context.store.path, 'commits', id, 'commit.cfs')
  assert.ok(fs.readFileSync(at('alone.cfs')).equals(fs.readFileSync(stored)))
})

test('sockets are listed, and the exit status is 3', () => {
  const directory = at('with-socket')
  fs.mkdirSync(directory)
  run('python3', '-c', `import socket; socket.socket(socket.AF_UNIX).bind("${directory}/control")`)
  assert.equal(shop.cli('import', directory, '--label', 'sockets', '--tag', 'v1').status, 0)
  const { status, stderr } = shop.cli('export', 'sockets:v1', 'sockets.tar')
  assert.equal(status, 3)
  assert.match(stderr, /warning: control is a socket, which tar cannot hold/)
  const json = JSON.parse(shop.cli('export', 'sockets:v1', 'sockets.oci.tar', '--json').stdout)
  assert.deepEqual([json.leftOut, json.exitCode, json.format], [['control'], 3, 'oci'])
})

test('a damaged object is not exported, and leaves no file', async () => {
  const damaged = openWorkshop()
  const content = crypto.randomBytes(10_000)
  fs.writeFileSync(path.join(damaged.folder, 'a.tar'), await packed([{ name: 'etc/file' }, content]))
  damaged.cli('import', 'a.tar', '--label', 'app', '--tag', 'v1')
  const objects = path.join(damaged.context.store.path, 'objects')
  const names = fs.readdirSync(objects, { recursive: true, withFileTypes: true })
  const object = names.find(each => each.isFile()) as fs.Dirent
  const file = path.join(object.parentPath, object.name)
  const damage: Record<string, () => void> = {
    'holds other bytes': () => fs.writeFileSync(file, Buffer.alloc(10_000)),
    'has 9000 bytes instead of 10000': () => fs.writeFileSync(file, content.subarray(0, 9000)),
    'is not in the store': () => fs.rmSync(file),
  }
  for (const [message, harm] of Object.entries(damage)) {
    harm()
    const { status, stderr } = damaged.cli('export', 'app:v1', 'out.tar')
    assert.equal(status, 9)
    assert.ok(stderr.includes(`etc/file: its object ${message}`), stderr)
    assert.ok(!fs.existsSync(path.join(damaged.folder, 'out.tar')))
  }
})

test('exit codes: malformed 1, wrong usage 2, missing 4, wrong digest 9', async () => {
  const statusOf = (bytes: Buffer): number | null => pipe(bytes, 'import', '-', '--label', 'app').status
  assert.equal(statusOf(Buffer.from('no archive')), 1)
  assert.equal(statusOf(await packed([{ name: '../x' }, 'x'])), 1)
  assert.equal(statusOf(await packed({ name: 'x', type: 'character-device' })), 11)
  const { files, pack } = ociLayout({ layers: [{ tar: await packed([{ name: 'file' }, 'x']) }] })
  const [[layer]] = files
  files.set(layer, await packed([{ name: 'file' }, 'y']))
  assert.equal(statusOf(await pack()), 9)
  assert.equal(shop.cli('import', 'no-such-file', '--label', 'app').status, 4)
  assert.equal(shop.cli('import', 'good.tar').status, 2)
})

/** A store on a file system of its own. */
function onSmallFileSystem(mebibytes: number): Workshop {
  const folder = fs.mkdtempSync(at('small-'))
  run('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'small', folder)
  return openWorkshop(shop.folder, path.join(folder, 'store'))
}

test('an archive that cannot fit is refused before it is read; one that does not leaves the store as it was', async () => {
  const small = onSmallFileSystem(16)
  const random = crypto.randomBytes(20 << 20)
  const tar = await packed([{ name: 'a-small-file' }, crypto.randomBytes(5000)], [{ name: 'too-large' }, random])
  fs.writeFileSync(at('large.tar'), tar)
  fs.writeFileSync(at('large.tar.gz'), zlib.gzipSync(tar, { level: 1 }))
  fs.writeFileSync(at('large.tar.zst'), zlib.zstdCompressSync(tar))
  fs.writeFileSync(
    at('text.tar.zst'),
    zlib.zstdCompressSync(await packed([{ name: 'text' }, Buffer.alloc(20 << 20, 'text')])),
  )
  small.cli('import', 'good.tar', '--label', 'app', '--tag', 'v1')
  const before = hashOfStore(small.context.store.path)
  for (const file of ['large.tar', 'large.tar.gz', 'large.tar.zst', 'text.tar.zst']) {
    const { status, stderr } = small.cli('import', file, '--label', 'app')
    assert.equal(status, 13, stderr)
    assert.match(stderr, new RegExp(`${file} does not fit: the store has \\d+ MiB left, and \\d+ MiB are missing`))
    const late = small.cli('import', file, '--label', 'app', '--ignore-space')
    assert.equal(late.status, 13, late.stderr)
    assert.match(late.stderr, /no space left/)
    assert.equal(hashOfStore(small.context.store.path), before)
  }
  const zeros = await packed([{ name: 'zeros' }, Buffer.alloc(64 << 20)])
  fs.writeFileSync(at('zeros.tar'), zeros)
  assert.equal(small.cli('import', 'zeros.tar', '--label', 'app', '--ignore-space').status, 0)
})

test('an export onto a full file system is an error and leaves no file', async () => {
  fs.writeFileSync(at('random.tar'), await packed([{ name: 'random' }, crypto.randomBytes(4 << 20)]))
  shop.cli('import', 'random.tar', '--label', 'random', '--tag', 'v1')
  const folder = fs.mkdtempSync(at('full-'))
  run('mount', '-t', 'tmpfs', '-o', 'size=2m', 'full', folder)
  for (const format of ['tar', 'tar.zst', 'oci.tar']) {
    const { status, stderr } = shop.cli('export', 'random:v1', `${folder}/out.${format}`)
    assert.equal(status, 13, stderr)
    assert.deepEqual(fs.readdirSync(folder), [])
  }
})
