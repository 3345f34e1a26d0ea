import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import zlib from 'node:zlib'
import type { ErrorCode } from '../../src/errors/codes.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { createBudget, createTreeBuilder } from '../../src/archives/tree-builder.ts'
import {
  extendedHeader,
  hashOfStore,
  type Layout,
  ociLayout,
  openWorkshop,
  packed,
  patched,
  sha256,
} from './workshop.ts'

/** Every archive that must not come in: what it is, the code of the error, and what its message says, the name of the member at least. */
type Bad = readonly [name: string, archive: Buffer | Promise<Buffer>, message: RegExp, code?: ErrorCode]

const pax = (records: Record<string, string>, name = 'the-file'): Promise<Buffer> =>
  packed([{ name, pax: records }, 'content'])
const one = await packed([{ name: 'the-file' }, 'content'])
const two = await packed([{ name: 'first' }, 'content'], [{ name: 'second' }, Buffer.alloc(3000, 'x')])
const END = 1024
const withoutEnd = (archive: Buffer): Buffer => archive.subarray(0, -END)
const binary = (...bytes: number[]): Buffer => Buffer.from(bytes)

/** A member whose pax header is these bytes, whatever they are. */
async function rawPax(records: string, size?: number): Promise<Buffer> {
  return Buffer.concat([await extendedHeader('x', records, size), one])
}

const BROKEN: readonly Bad[] = [
  ['nothing', Buffer.alloc(0), /the archive is empty/],
  ['random bytes', crypto.randomBytes(10_000), /no tar archive/],
  ['a short text', Buffer.from('hello'), /no tar archive/],
  ['a cut header', two.subarray(0, 1024 + 100), /ends at first/],
  ['a cut file', two.subarray(0, 2000), /^second: the archive ends in the middle of it/],
  ['cut zeros behind a file', two.subarray(0, 1024 + 512 + 3000 + 10), /ends at second/],
  ['no end mark', withoutEnd(two), /ends behind second, without the mark of its end/],
  ['only a header', one.subarray(0, 512), /^the-file: the archive ends in the middle of it/],
  ['two joined archives', Buffer.concat([one, two]), /something behind the end of the tar archive/],
  [
    'a wrong checksum',
    Buffer.concat([two.subarray(0, 1024), Buffer.from('X'), two.subarray(1025)]),
    /byte 1024 behind first is damaged: its checksum/,
  ],
  ['a size that is no number', patched(one, 124, 'zzzzzzzzzzzz'), /its field size is no number/],
  [
    'a negative size',
    patched(one, 124, binary(255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0)),
    /the-file: its size is no number/,
  ],
  [
    'a size beyond all numbers',
    patched(one, 124, binary(0x80, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0)),
    /its field size is no number/,
  ],
  [
    'a size of 4 PiB',
    patched(one, 124, binary(0x80, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0)),
    /^the-file: the archive ends in the middle of it/,
  ],
  ['a uid that is no number', patched(one, 108, 'x'), /its field uid is no number/],
  ['a uid of -1', patched(one, 108, binary(255, 255, 255, 255, 255, 255, 255, 255)), /the-file: its uid or gid/],
  ['an unknown type', patched(one, 156, 'Z'), /the-file: its type is "Z"/],
  ['the second tape of several', patched(one, 156, 'M'), /the-file: its type is "M"/],
  ['a pax record that is too long', rawPax('99 path=x\n'), /damaged: its pax record/],
  ['a pax record without length', rawPax(' path=x\n'), /damaged: its pax record/],
  ['a pax record of length 0', rawPax('0 path=x\n'), /damaged: its pax record/],
  ['a pax record without end', rawPax('9 path=xy'), /damaged: its pax record/],
  ['a pax record without =', rawPax('8 pathx\n'), /damaged: its pax record/],
  ['a pax record without key', rawPax('5 =x\n'), /damaged: its pax record/],
  ['an enormous pax header', rawPax('x'.repeat(2_000_000)), /the extended header has 2000000 bytes/],
  ['a pax header that claims 8 GiB', rawPax('x', 2 ** 33 - 1), /the extended header has 8589934591 bytes/],
  ['a cut pax header', (await rawPax('x'.repeat(600))).subarray(0, 700), /ends at its beginning/],
  ['a pax size that is none', pax({ size: '7x' }), /the-file: its size/],
  ['a pax time that is none', pax({ mtime: 'now' }), /the-file: its time/],
  ['a pax uid that is none', pax({ uid: '4294967295' }), /the-file: its uid/],
]

const HOSTILE: readonly Bad[] = [
  ['a name above the root', packed([{ name: '../outside' }, 'x']), /\.\.\/outside: it leads out/],
  [
    'a name above the root, further in',
    packed([{ name: 'a/../../outside' }, 'x']),
    /a\/\.\.\/\.\.\/outside: it leads out/,
  ],
  ['a name that ends in ..', packed({ name: 'a/..', type: 'directory' }), /a\/\.\.: it leads out/],
  [
    'a file behind a symlink',
    packed({ name: 'etc', type: 'symlink', linkname: '/etc' }, [{ name: 'etc/passwd' }, 'x']),
    /etc\/passwd: etc is a symlink/,
  ],
  ['a file behind a file', packed([{ name: 'a' }, 'x'], [{ name: 'a/b' }, 'x']), /a\/b: a is a file/],
  [
    'a directory behind a fifo',
    packed({ name: 'a', type: 'fifo' }, { name: 'a/b', type: 'directory' }),
    /a\/b\/?: a is a fifo/,
  ],
  [
    'a hard link to nothing',
    packed({ name: 'a', type: 'link', linkname: 'b' }),
    /^a: it is a hard link to b, which is not in the archive before it/,
  ],
  [
    'a hard link to what comes later',
    packed({ name: 'a', type: 'link', linkname: 'b' }, [{ name: 'b' }, 'x']),
    /^a: it is a hard link to b/,
  ],
  ['a hard link to itself', packed({ name: 'a', type: 'link', linkname: 'a' }), /^a: it is a hard link to a/],
  [
    'a hard link to a file of the machine',
    packed({ name: 'a', type: 'link', linkname: '/etc/passwd' }),
    /^a: it is a hard link to \/etc\/passwd/,
  ],
  [
    'a hard link above the root',
    packed({ name: 'a', type: 'link', linkname: '../../etc/passwd' }),
    /^a: it is a hard link to \.\.\/\.\.\/etc\/passwd: it leads out/,
  ],
  [
    'a hard link to a directory',
    packed({ name: 'd', type: 'directory' }, { name: 'a', type: 'link', linkname: 'd' }),
    /^a: it is a hard link to d, which is a directory/,
  ],
  [
    'a hard link through a symlink',
    packed(
      [{ name: 'd/f' }, 'x'],
      { name: 's', type: 'symlink', linkname: 'd' },
      { name: 'a', type: 'link', linkname: 's/f' },
    ),
    /^a: it is a hard link to s\/f/,
  ],
  ['a name of 256 bytes', pax({ path: `d/${'n'.repeat(256)}` }), /n{256}: a part of its name has 256 bytes/],
  ['a zero byte in a name', pax({ path: 'a\0b' }), /^a\\x00b: a zero byte/],
  ['a zero byte in a link', pax({ linkpath: 'a\0b' }), /the-file: a zero byte/],
  ['a name of 3000 levels', pax({ path: 'a/'.repeat(3000) }), /its name has 3000 levels/],
  ['a root that is a file', packed([{ name: './' }, 'x'], [{ name: '.' }, 'x']), /^\.: it has no name/],
  ['a root that is a symlink', packed({ name: '/', type: 'symlink', linkname: 'x' }), /^\/: it has no name/],
  [
    'a symlink to nothing',
    patched(await packed({ name: 'a', type: 'symlink', linkname: 'x' }), 157, '\0'),
    /^a: it is a symlink of 0 bytes/,
  ],
  [
    'a symlink that is too long',
    packed({ name: 'a', type: 'symlink', linkname: 'x'.repeat(4096) }),
    /^a: it is a symlink of 4096 bytes/,
  ],
  [
    'a character device 0/0',
    packed({ name: 'dev/null', type: 'character-device', devmajor: 0, devminor: 0 }),
    /^dev\/null: it is a character device 0\/0/,
    'unsupported',
  ],
  [
    'a device number beyond all',
    packed({ name: 'dev', type: 'block-device', devmajor: 4096, devminor: 0 }),
    /^dev: its device number 4096, 0/,
  ],
  [
    'attributes that are too large',
    pax({ 'SCHILY.xattr.user.big': 'x'.repeat(40_000) }),
    /^the-file: the extended attributes of it have/,
    'unsupported',
  ],
  [
    'an attribute with a long name',
    pax({ [`SCHILY.xattr.user.${'n'.repeat(300)}`]: 'x' }),
    /the-file: user\.n+… cannot be the name/,
  ],
  ['an attribute without a name', pax({ 'SCHILY.xattr.user.': 'x' }), /the-file: user\. cannot be the name/],
  [
    'a sparse map that runs backwards',
    pax({ 'GNU.sparse.size': '100', 'GNU.sparse.map': '50,3,10,4' }),
    /the-file: its sparse map is damaged/,
  ],
  [
    'a sparse map beyond the file',
    pax({ 'GNU.sparse.size': '10', 'GNU.sparse.map': '5,7' }),
    /the-file: its sparse map is damaged/,
  ],
  [
    'a sparse map of other bytes',
    pax({ 'GNU.sparse.size': '100', 'GNU.sparse.map': '5,6' }),
    /the-file: its sparse map speaks of 6 bytes, but 7/,
  ],
  [
    'a sparse map of half a piece',
    pax({ 'GNU.sparse.size': '100', 'GNU.sparse.map': '5' }),
    /the-file: its sparse map is damaged/,
  ],
  [
    'a sparse map of words',
    pax({ 'GNU.sparse.size': '100', 'GNU.sparse.map': 'a,b' }),
    /the-file: its sparse map is damaged/,
  ],
  [
    'a sparse map in front that is none',
    pax({ 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '100' }),
    /the-file: its sparse map is damaged/,
  ],
]

const layer = await packed({ name: 'etc/', type: 'directory' }, [{ name: 'etc/file' }, 'content'], {
  name: 'lib',
  type: 'symlink',
  linkname: 'usr/lib',
})
const compress = (tar: Buffer): Buffer => zlib.gzipSync(tar)
const simple = (): Layout => ociLayout({ layers: [{ tar: layer, compress }] })

/** The layout with one file changed or taken away. */
function altered(
  layout: Layout,
  wanted: RegExp | number,
  change: (content: Buffer) => Buffer | undefined,
): Promise<Buffer> {
  const names = [...layout.files.keys()]
  const name = typeof wanted === 'number' ? names[wanted] : (names.find(each => wanted.test(each)) as string)
  const content = change(layout.files.get(name) as Buffer)
  if (content === undefined) layout.files.delete(name)
  else layout.files.set(name, content)
  return layout.pack()
}

const flip = (content: Buffer): Buffer => {
  const copy = Buffer.from(content)
  copy[copy.length >> 1] ^= 1
  return copy
}
const [LAYER, CONFIG, MANIFEST] = [0, 1, 2]
const through = await packed([{ name: 'lib/file' }, 'x'])
const foreign = { os: 'linux', architecture: 's390x' }
const other = { os: 'linux', architecture: 'riscv64' }

const IMAGES: readonly Bad[] = [
  [
    'a layer with a bit turned',
    altered(simple(), LAYER, flip),
    /layer 1 of 1 .* should have the digest sha256:/,
    'integrity',
  ],
  [
    'a layer with a byte more',
    altered(simple(), LAYER, content => Buffer.concat([content, Buffer.from('x')])),
    /should have the digest/,
    'integrity',
  ],
  [
    'a layer that was cut',
    altered(simple(), LAYER, content => content.subarray(0, 50)),
    /should have the digest/,
    'integrity',
  ],
  [
    'an uncompressed layer with a bit turned',
    altered(ociLayout({ layers: [{ tar: layer }] }), LAYER, flip),
    /should have the digest/,
    'integrity',
  ],
  ['a config with a bit turned', altered(simple(), CONFIG, flip), /should have the digest/, 'integrity'],
  ['a manifest with a bit turned', altered(simple(), MANIFEST, flip), /should have the digest/, 'integrity'],
  [
    'a layer whose bytes are not those of the config',
    ociLayout({ layers: [{ tar: layer, diffId: sha256('x') }] }).pack(),
    /it, unpacked, should have the digest/,
    'integrity',
  ],
  ['a layer that is not there', altered(simple(), LAYER, () => undefined), /layer 1 of 1 .*: it is not in the archive/],
  [
    'a config that is not there',
    altered(simple(), CONFIG, () => undefined),
    /blobs\/sha256\/[0-9a-f]+ is not in the archive/,
  ],
  [
    'a manifest that is not there',
    altered(simple(), MANIFEST, () => undefined),
    /blobs\/sha256\/[0-9a-f]+ is not in the archive/,
  ],
  ['an index that is no JSON', altered(simple(), /index/, () => Buffer.from('{')), /index\.json is no JSON/],
  [
    'an index of something else',
    altered(simple(), /index/, () => Buffer.from('[]')),
    /index\.json is not what it should be/,
  ],
  [
    'an index with a path for a digest',
    altered(simple(), /index/, () => Buffer.from('{"manifests":[{"digest":"sha256:../../x","size":1}]}')),
    /index\.json is not what it should be, at manifests\.0\.digest: no digest/,
  ],
  ['an index of nothing', altered(simple(), /index/, () => Buffer.from('{"manifests":[]}')), /there is no image/],
  [
    'a layer that is no tar',
    ociLayout({ layers: [{ tar: Buffer.alloc(1000, 'x') }] }).pack(),
    /layer 1 of 1 .*: the tar header at byte 0 is damaged/,
  ],
  [
    'a layer that was cut before it was named',
    ociLayout({ layers: [{ tar: layer.subarray(0, 1200) }] }).pack(),
    /layer 1 of 1 .*: .*it was cut/,
  ],
  [
    'a name through a symlink of a layer below',
    ociLayout({ layers: [{ tar: layer }, { tar: through }] }).pack(),
    /layer 2 of 2 .*: a name leads through lib, which is a symlink in a layer below/,
  ],
  [
    'a whiteout of no name',
    ociLayout({ layers: [{ tar: await packed({ name: 'a/.wh.' }) }] }).pack(),
    /a\/\.wh\.: it is a whiteout of no name/,
  ],
  [
    'images for other machines',
    ociLayout({ layers: [], platform: foreign, name: 'app:z' }, { layers: [], platform: other }).pack(),
    /2 images, of which none for linux\/\w+: linux\/s390x app:z, linux\/riscv64 sha256:/,
    'usage',
  ],
]

const shop = openWorkshop()
const file = path.join(shop.folder, 'archive')
fs.writeFileSync(file, one)
await shop.importArchive(file)
const before = hashOfStore(shop.context.store.path)

for (const [name, archive, message, code = 'malformed'] of [...BROKEN, ...HOSTILE, ...IMAGES])
  for (const [how, compress] of Object.entries({
    plain: (bytes: Buffer) => bytes,
    zstd: (bytes: Buffer) => zlib.zstdCompressSync(bytes),
  }))
    test(`${name} (${how}): ${code}, and the store is as before`, async () => {
      fs.writeFileSync(file, compress(await archive))
      await assert.rejects(shop.importArchive(file), error => {
        assert.ok(isStratumError(error, code), String(error))
        assert.match(error.message.replace(`${file}: `, ''), message)
        assert.ok(error.message.includes(file), 'the message does not name the archive')
        return true
      })
      assert.equal(hashOfStore(shop.context.store.path), before)
    })

test('what all names together may take has an end', () => {
  const builder = createTreeBuilder(createBudget(), undefined)
  const entry = {
    mode: 0o120777,
    uid: 0,
    gid: 0,
    seconds: 0,
    nanoseconds: 0,
    size: 0,
    digest: undefined,
    data: 'x'.repeat(2 ** 20),
    device: 0,
    xattrs: [],
    linked: false,
  }
  assert.throws(
    () => {
      for (let i = 0; i < 2050; i++) builder.put(String(i), entry)
    },
    error => isStratumError(error, 'unsupported') && /than 2048 MiB/.test(error.message),
  )
})
