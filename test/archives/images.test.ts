import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { machinePlatform } from '../../src/archives/image-manifest.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { gnuTar, makeFullDirectory, ociLayout, openWorkshop, packed, run } from './workshop.ts'

const gzip = (tar: Buffer): Buffer => zlib.gzipSync(tar)
const zstd = (tar: Buffer): Buffer =>
  Buffer.concat([zlib.zstdCompressSync(tar.subarray(0, 700)), zlib.zstdCompressSync(tar.subarray(700))])

test('layers of all compressions are laid over each other in the order of the manifest, with whiteouts', async () => {
  const shop = openWorkshop()
  const lowest = await packed(
    { name: './', type: 'directory', mode: 0o711 },
    [{ name: 'stays' }, '1'],
    [{ name: 'replaced' }, '1'],
    [{ name: 'removed' }, '1'],
    { name: 'directory/', type: 'directory', mode: 0o700 },
    [{ name: 'directory/stays' }, '1'],
    [{ name: 'directory/removed' }, '1'],
    { name: 'emptied/', type: 'directory', mode: 0o750 },
    [{ name: 'emptied/gone' }, '1'],
    { name: 'gone/', type: 'directory' },
    [{ name: 'gone/file' }, '1'],
    [{ name: 'becomes directory' }, '1'],
    { name: 'becomes file/', type: 'directory' },
    [{ name: 'becomes file/gone' }, '1'],
    { name: 'link', type: 'symlink', linkname: 'directory' },
    [{ name: '.wh..wh.plnk/12.34' }, 'of AUFS'],
  )
  const middle = await packed(
    [{ name: 'replaced' }, '2'],
    [{ name: '.wh.removed' }, ''],
    [{ name: 'directory/.wh.removed' }, ''],
    [{ name: 'directory/new' }, '2'],
    [{ name: 'emptied/new' }, 'in the same layer as its whiteout'],
    [{ name: 'emptied/.wh..wh..opq' }, ''],
    [{ name: '.wh.gone' }, ''],
    { name: 'becomes directory', type: 'directory', mode: 0o755 },
    [{ name: 'becomes directory/new' }, '2'],
    [{ name: 'becomes file' }, '2'],
    { name: 'hard', type: 'link', linkname: 'stays' },
    [{ name: '.wh.never was' }, ''],
  )
  const highest = await packed(
    { name: 'link/', type: 'directory', mode: 0o755 },
    [{ name: 'link/file' }, '3'],
    [{ name: 'emptied/.wh.new' }, ''],
    [{ name: 'emptied/new' }, '3'],
  )
  const layers = [{ tar: lowest, compress: gzip }, { tar: middle, compress: zstd }, { tar: highest }]
  const layout = ociLayout({ layers })
  const expected = await shop.importArchive(
    Readable.from([
      await packed(
        { name: './', type: 'directory', mode: 0o711 },
        [{ name: 'stays' }, '1'],
        { name: 'hard', type: 'link', linkname: 'stays' },
        [{ name: 'replaced' }, '2'],
        { name: 'directory/', type: 'directory', mode: 0o700 },
        [{ name: 'directory/stays' }, '1'],
        [{ name: 'directory/new' }, '2'],
        { name: 'emptied/', type: 'directory', mode: 0o750 },
        [{ name: 'emptied/new' }, '3'],
        { name: 'becomes directory', type: 'directory', mode: 0o755 },
        [{ name: 'becomes directory/new' }, '2'],
        [{ name: 'becomes file' }, '2'],
        { name: 'link/', type: 'directory', mode: 0o755 },
        [{ name: 'link/file' }, '3'],
      ),
    ]),
  )
  const reversed = new Map([...layout.files].reverse())
  for (const files of [layout.files, reversed]) {
    const archive = await packed(
      ...[...files].map(([name, content]) => [{ name }, content] as [{ name: string }, Buffer]),
    )
    for (const bytes of [archive, gzip(archive)]) {
      const { metadata } = await openWorkshop().importArchive(Readable.from([bytes]))
      assert.equal(metadata.id, expected.metadata.id)
    }
  }
})

test('the blobs of an image do not stay in the store', async () => {
  const shop = openWorkshop()
  const content = Buffer.alloc(5000, 'content')
  const { files, pack } = ociLayout({ layers: [{ tar: await packed([{ name: 'file' }, content]), compress: gzip }] })
  await shop.importArchive(Readable.from([await pack()]))
  const objects = path.join(shop.context.store.path, 'objects')
  const stored = fs.readdirSync(objects, { recursive: true, withFileTypes: true }).filter(each => each.isFile())
  assert.equal(stored.length, 1)
  assert.ok(fs.readFileSync(path.join(stored[0].parentPath, stored[0].name)).equals(content))
  const plain = await shop.importArchive(Readable.from([await pack()]), { plain: true })
  assert.equal(plain.metadata.files, files.size)
})

test('of several images the one for this machine is taken, or the one that is asked for', async () => {
  const shop = openWorkshop()
  const layerOf = async (text: string) => ({ tar: await packed([{ name: text }, text]), compress: gzip })
  const { os, architecture } = machinePlatform()
  const own = { platform: { os, architecture }, layers: [await layerOf('own')], name: 'app:1' }
  const other = {
    platform: { os: 'linux', architecture: 's390x', variant: 'v9' },
    layers: [await layerOf('other')],
    name: 'app:2',
  }
  const attestation = { platform: { os: 'unknown', architecture: 'unknown' }, layers: [await layerOf('attestation')] }
  const filesOf = async (archive: Buffer, platform?: string): Promise<string> => {
    const { metadata } = await shop.importArchive(Readable.from([archive]), { platform })
    return shop.dump(metadata.id).split('\n')[1].split(' ')[0]
  }
  const both = await ociLayout(other, own, attestation).pack()
  assert.equal(await filesOf(both), '/own')
  assert.equal(await filesOf(both, 'linux/s390x'), '/other')
  assert.equal(await filesOf(both, 'linux/s390x/v9'), '/other')
  assert.equal(await filesOf(await ociLayout(other, attestation).pack()), '/other')
  const twice = await ociLayout(own, { ...own, layers: [await layerOf('third')], name: 'app:3' }).pack()
  await assert.rejects(
    filesOf(twice),
    error => isStratumError(error, 'usage') && /of which 2 .* app:1, .* app:3/.test(error.message),
  )
})

test('an index may hold an index, but not without end', async () => {
  const { files } = ociLayout({ layers: [{ tar: await packed([{ name: 'file' }, 'x']) }] })
  const nest = async (levels: number): Promise<Buffer> => {
    const copy = new Map(files)
    for (let i = 0; i < levels; i++) {
      const index = copy.get('index.json') as Buffer
      const inner = ociLayout({ layers: [{ tar: index }] })
      const [[name]] = inner.files
      copy.set(name, index)
      const descriptor = {
        mediaType: 'application/vnd.oci.image.index.v1+json',
        digest: name.replace('blobs/sha256/', 'sha256:'),
        size: index.length,
      }
      copy.set('index.json', Buffer.from(JSON.stringify({ manifests: [descriptor] })))
    }
    return packed(...[...copy].map(([name, content]) => [{ name }, content] as [{ name: string }, Buffer]))
  }
  const shop = openWorkshop()
  assert.equal((await shop.importArchive(Readable.from([await nest(2)]))).metadata.files, 1)
  await assert.rejects(shop.importArchive(Readable.from([await nest(9)])), error => isStratumError(error, 'malformed'))
})

test('a manifest.json that is no Docker manifest is a file like any other', async () => {
  const shop = openWorkshop()
  for (const text of ['{}', '[]', 'no JSON', '[{"Config":"../x","Layers":["a"]}]']) {
    const { metadata } = await shop.importArchive(Readable.from([await packed([{ name: 'manifest.json' }, text])]))
    assert.equal(metadata.files, 1)
  }
})

test('skopeo reads our images and writes them in every form, and each comes back as the same commit', async () => {
  const shop = openWorkshop()
  const directory = path.join(shop.folder, 'full')
  makeFullDirectory(directory)
  const id = await shop.importDirectory(directory)
  const ours = path.join(shop.folder, 'ours.oci.tar')
  await shop.exportTo(id, ours, 'oci')
  const seen = JSON.parse(run('skopeo', 'inspect', `oci-archive:${ours}`))
  assert.equal(seen.Layers.length, 1)
  assert.deepEqual([seen.Architecture, seen.Os], [machinePlatform().architecture, 'linux'])
  assert.equal(seen.Labels['stratum.commit'], id)
  const forms = {
    'oci-archive': 'oci-archive:FILE:app:v1',
    'oci-archive, zstd': '--dest-compress-format=zstd oci-archive:FILE',
    'docker-archive': 'docker-archive:FILE:app:v1',
  }
  for (const [name, form] of Object.entries(forms)) {
    const file = path.join(shop.folder, `${name}.tar`)
    const args = form.split(' ').map(arg => arg.replace('FILE', file))
    run(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--quiet',
      ...args.slice(0, -1),
      `oci-archive:${ours}`,
      args[args.length - 1],
    )
    const { metadata } = await openWorkshop().importArchive(file)
    assert.equal(metadata.id, id, name)
  }
  run('skopeo', '--insecure-policy', 'copy', '--quiet', `oci-archive:${ours}`, `oci:${shop.folder}/layout:v1`)
  const layout = path.join(shop.folder, 'layout.tar.gz')
  gnuTar('--gzip', '-C', `${shop.folder}/layout`, '-cf', layout, '.')
  assert.equal((await openWorkshop().importArchive(layout)).metadata.id, id)
})
