import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import v8 from 'node:v8'
import vm from 'node:vm'
import { formatPax } from '../../src/archives/pax.ts'
import { findNode } from '../../src/erofs/directory.ts'
import { openCommitImage } from '../../src/commits/open-image.ts'
import { readEntry } from '../../src/tree/read-entry.ts'
import type { Entry } from '../../src/tree/entry.ts'
import { fromUser } from '../../src/names/text.ts'
import { extendedHeader, openWorkshop, packed, patched } from './workshop.ts'

/** What single members become: the rules of docs/archives.md, one by one. */
const shop = openWorkshop()

async function entriesOf(archive: Buffer): Promise<(name: string) => Entry | undefined> {
  const { metadata } = await shop.importArchive(Readable.from([archive]))
  const image = openCommitImage(shop.context.store, metadata.id)
  return name => {
    const node = findNode(image, name)
    return node === undefined ? undefined : readEntry(image, node)
  }
}

const contentOf = (entry: Entry | undefined): string => entry?.data ?? 'missing'
const xattrOf = (entry: Entry | undefined, name: string): string | undefined =>
  entry?.xattrs.find(([key]) => key === name)?.[1]

test('of two members with one name the last one counts; a directory keeps what is in it', async () => {
  const find = await entriesOf(
    await packed(
      [{ name: 'file' }, 'old'],
      [{ name: 'file' }, 'new'],
      { name: 'becomes file', type: 'directory' },
      [{ name: 'becomes file/inside' }, 'x'],
      [{ name: 'becomes file' }, 'now'],
      [{ name: 'becomes directory' }, 'x'],
      { name: 'becomes directory', type: 'directory', mode: 0o700 },
      [{ name: 'becomes directory/inside' }, 'in'],
      { name: 'becomes directory', type: 'directory', mode: 0o750 },
      { name: 'link', type: 'symlink', linkname: '/etc' },
      { name: 'link', type: 'directory' },
      [{ name: 'link/passwd' }, 'not of this machine'],
    ),
  )
  assert.equal(contentOf(find('file')), 'new')
  assert.equal(contentOf(find('becomes file')), 'now')
  assert.equal(find('becomes directory')?.mode, 0o040750)
  assert.equal(contentOf(find('becomes directory/inside')), 'in')
  assert.equal(contentOf(find('link/passwd')), 'not of this machine')
})

test('names are counted from the root, with or without slashes and dots', async () => {
  const find = await entriesOf(
    await packed([{ name: '/absolute' }, 'a'], [{ name: './dot' }, 'b'], [{ name: 'a//b/./c' }, 'c'], {
      name: './',
      type: 'directory',
      mode: 0o711,
      uid: 5,
    }),
  )
  assert.deepEqual(
    ['absolute', 'dot', 'a/b/c'].map(name => contentOf(find(name))),
    ['a', 'b', 'c'],
  )
  assert.deepEqual([find('')?.mode, find('')?.uid], [0o040711, 5])
})

test("directories that are missing are root's, 0755, of 1970; the one that comes later counts", async () => {
  const find = await entriesOf(
    await packed([{ name: 'a/b/file' }, 'x'], { name: 'a', type: 'directory', mode: 0o2770, mtime: new Date(5000) }),
  )
  const { mode, uid, gid, seconds } = find('a/b') as Entry
  assert.deepEqual({ mode, uid, gid, seconds }, { mode: 0o040755, uid: 0, gid: 0, seconds: 0 })
  assert.deepEqual([find('a')?.mode, find('a')?.seconds], [0o042770, 5])
  assert.equal(find('')?.mode, 0o040755)
})

test('hard links are one inode with their target, also when it is a symlink or fifo or named otherwise', async () => {
  const { metadata } = await shop.importArchive(
    Readable.from([
      await packed(
        [{ name: 'a', uid: 7, mode: 0o600 }, 'content'],
        { name: 'd/b', type: 'link', linkname: './a', uid: 8, mode: 0o777 },
        { name: 'c', type: 'link', linkname: '/d/b' },
        { name: 's', type: 'symlink', linkname: 'nowhere' },
        { name: 's2', type: 'link', linkname: 's' },
        { name: 'f', type: 'fifo' },
        { name: 'f2', type: 'link', linkname: 'f' },
      ),
    ]),
  )
  const image = openCommitImage(shop.context.store, metadata.id)
  const node = (name: string): number => findNode(image, name) as number
  assert.equal(new Set(['a', 'd/b', 'c'].map(node)).size, 1)
  assert.equal(node('s'), node('s2'))
  assert.equal(node('f'), node('f2'))
  assert.deepEqual([readEntry(image, node('c')).uid, readEntry(image, node('c')).mode], [7, 0o100600])
})

test('pax records go before the header: times, owners, names and links as bytes, attributes', async () => {
  const find = await entriesOf(
    await packed(
      [
        {
          name: 'short',
          uid: 1,
          pax: {
            path: 'from pax/n\u00e4me',
            mtime: '-1.25',
            uid: '4294967294',
            gid: '0',
            atime: '5',
            'SCHILY.xattr.user.a%3Db%25': 'v=w\nx',
            'SCHILY.xattr.com.apple.quarantine': 'no namespace of Linux',
            comment: 'passed over',
          },
        },
        'x',
      ],
      [{ name: 'exact', pax: { mtime: '12345678901.1234567899' } }, 'x'],
      [{ name: 'empty', uid: 3, pax: { uid: '' } }, 'x'],
    ),
  )
  const entry = find(fromUser('from pax/n\u00e4me')) as Entry
  const { uid, gid, seconds, nanoseconds } = entry
  assert.deepEqual(
    { uid, gid, seconds, nanoseconds },
    { uid: 4294967294, gid: 0, seconds: -2, nanoseconds: 750_000_000 },
  )
  assert.deepEqual(entry.xattrs, [['user.a=b%', 'v=w\nx']])
  assert.deepEqual([find('exact')?.seconds, find('exact')?.nanoseconds], [12345678901, 123456789])
  assert.equal(find('empty')?.uid, 3)
})

test('a global pax header counts for all that come behind it, until their own say otherwise', async () => {
  const first = await packed([{ name: 'first' }, 'x'])
  const rest = await packed([{ name: 'own', pax: { mtime: '9' } }, 'x'], [{ name: 'other' }, 'x'])
  const find = await entriesOf(
    Buffer.concat([first.subarray(0, -1024), await extendedHeader('g', '11 mtime=7\n'), rest]),
  )
  assert.deepEqual(
    ['first', 'own', 'other'].map(name => find(name)?.seconds),
    [0, 9, 7],
  )
})

test('ACLs in text become those of the kernel when they have numbers; others are named', async () => {
  const acl = 'user::rw-\nuser:anna:r--:1234\ngroup::r--,group:99:rwx\nmask::rwx #effective\nother::---\n'
  const archive = await packed(
    [
      { name: 'numbers', pax: { 'SCHILY.acl.access': acl, 'SCHILY.acl.default': 'user::rwx,group::r-x,other::r-x' } },
      'x',
    ],
    [{ name: 'plain', pax: { 'SCHILY.acl.access': 'user::rw-,group::r--,other::r--' } }, 'x'],
    [{ name: 'names', pax: { 'SCHILY.acl.access': 'user::rw-,user:anna:r--,group::r--,mask::r--,other::r--' } }, 'x'],
    [{ name: 'selinux', pax: { 'RHT.security.selinux': 'system_u:object_r:etc_t:s0' } }, 'x'],
  )
  const { lost } = await shop.importArchive(Readable.from([archive]))
  assert.deepEqual(lost, ['names'])
  const find = await entriesOf(archive)
  assert.equal(
    Buffer.from(xattrOf(find('numbers'), 'system.posix_acl_access') ?? '', 'latin1').toString('hex'),
    '0200000001000600ffffffff02000400d204000004000400ffffffff080007006300000010000700ffffffff20000000ffffffff',
  )
  assert.equal(xattrOf(find('numbers'), 'system.posix_acl_default')?.length, 28)
  assert.deepEqual(find('plain')?.xattrs, [])
  assert.deepEqual(find('names')?.xattrs, [])
  assert.deepEqual(find('selinux')?.xattrs, [['security.selinux', 'system_u:object_r:etc_t:s0\0']])
})

test('old archives: no magic, a slash behind the name of a directory, sizes at links, spaces in numbers', async () => {
  const directory = patched(await packed([{ name: 'old/' }, '']), 156, '\0')
  const link = await packed([{ name: 'old/file' }, 'x'], { name: 'link', type: 'link', linkname: 'old/file' })
  const sized = patched(link, 124, '00000001000 ', 1024)
  const spaced = patched(sized, 108, '   17 \0 ', 0)
  const noMagic = patched(spaced, 257, Buffer.alloc(8), 0)
  const find = await entriesOf(Buffer.concat([directory.subarray(0, 512), noMagic]))
  assert.equal(find('old')?.mode, 0o040644)
  assert.deepEqual([find('old/file')?.uid, contentOf(find('link'))], [15, 'x'])
})

test('holes and runs of zeros take no room, whatever their size', async () => {
  const archive = await packed([
    {
      name: 'sparse',
      pax: { 'GNU.sparse.size': String(2 ** 42), 'GNU.sparse.map': `${2 ** 41 + 5},7`, 'GNU.sparse.name': 'real name' },
    },
    'content',
  ])
  const { metadata } = await shop.importArchive(Readable.from([archive]))
  assert.equal(metadata.bytes, 2 ** 42)
})

test('10 GiB of zeros in an archive of some kilobytes are stored as a hole', async () => {
  const size = 10 * 2 ** 30
  const zeros = Buffer.alloc(1 << 20)
  const header = (await packed([{ name: 'zeros' }, ''])).subarray(0, 512)
  async function* pieces(): AsyncGenerator<Buffer> {
    yield patched(header, 124, Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 2, 0x80, 0, 0, 0]))
    for (let at = 0; at < size; at += zeros.length) yield zeros
    yield zeros.subarray(0, 1024)
  }
  const { metadata } = await shop.importArchive(Readable.from(pieces()))
  assert.equal(metadata.bytes, size)
})

test('of an extended header only what counts is kept in memory', async () => {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc') as () => void
  const used = (): number => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const filler = 'x'.repeat(900_000)
  const rest = (await packed([{ name: 'short' }, ''])).subarray(0, 512)
  const end = Buffer.alloc(1024)
  const before = used()
  let grown = 0
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let i = 0; i < 200; i++) {
      const path = `a-name-that-is-long-enough-${i}`
      yield await extendedHeader(
        'x',
        formatPax(
          new Map([
            ['comment', filler],
            ['path', path],
          ]),
        ),
      )
      yield rest
      yield patched(patched(rest, 156, 'L'), 124, `${(512 * 1700).toString(8).padStart(11, '0')} `)
      yield Buffer.alloc(512 * 1700, `also-a-long-name-${i}\0${filler}`, 'latin1')
      yield rest
    }
    yield end
    grown = used() - before
  }
  await shop.importArchive(Readable.from(pieces()))
  assert.ok(grown < 50_000_000, `${grown} bytes for 400 names`)
})
