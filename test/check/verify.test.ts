import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { verifyCommits } from '../../src/repository/verify.ts'
import { parseReference } from '../../src/names/reference.ts'
import { content, createTestStore, listContents, type TestStore } from '../support/store.ts'

const FILES = { 'bin/tool': content('tool', 70_000), small: content('small'), tiny: 'in the image', link: '-> small' }

async function storeWithCommit(): Promise<{ store: TestStore; id: string; object: string }> {
  const store = createTestStore()
  const id = await store.importFiles('app:v1', FILES)
  await store.importFiles('app:v2', { small: content('small') })
  const { objects } = listContents(store.store.path)
  const object = objects.map(digest => pathOf(store, digest)).find(path => fs.statSync(path).size > 50_000) as string
  return { store, id, object }
}

function pathOf(store: TestStore, digest: string): string {
  return `${store.store.path}/objects/${digest.slice(0, 2)}/${digest.slice(2)}`
}

/** Changes a file as a bad disk does: nothing of it but a byte. */
function flip(path: string, at: number): void {
  const { mode, atime, mtime } = fs.statSync(path)
  const bytes = fs.readFileSync(path)
  bytes[at] ^= 4
  fs.chmodSync(path, 0o600)
  fs.writeFileSync(path, bytes)
  fs.chmodSync(path, mode)
  fs.utimesSync(path, atime, mtime)
}

test('an intact store is said to be intact, whole or in part', async () => {
  const { store } = await storeWithCommit()
  for (const args of [[], ['app'], ['app:v1'], ['app:v1', '--quick']]) {
    const { status, stdout, stderr } = store.run(['verify', ...args])
    assert.deepEqual([status, stdout], [0, ''])
    assert.match(stderr, /^intact: /)
  }
  const { json } = store.run(['verify', '--json'])
  assert.deepEqual([json.intact, json.commits, json.objects, json.findings], [true, 2, 2, []])
  assert.equal(store.run(['verify', 'app:nosuch']).status, 4)
  assert.equal(store.run(['verify', 'nosuch']).status, 4)
})

/** What is damaged, whether `--quick` sees it, and what is said. */
type Plant = (where: { root: string; id: string; object: string }) => void
const DAMAGES: readonly (readonly [string, boolean, RegExp, Plant])[] = [
  [
    'a byte of an object',
    false,
    /object .* its content has the digest .*\n {4}app:v1 \/bin\/tool/,
    ({ object }) => flip(object, 65_000),
  ],
  ['an object that was cut', true, /bytes instead of/, ({ object }) => fs.truncateSync(object, 100)],
  ['an object that is empty', true, /0 bytes instead of/, ({ object }) => fs.truncateSync(object)],
  ['an object that is gone', true, /it is not in the store\n {4}app:v1 \/bin\/tool/, ({ object }) => fs.rmSync(object)],
  [
    'an object that is a symlink',
    true,
    /cannot be read|no regular file/,
    ({ object }) => replace(object, path => fs.symlinkSync('/etc/passwd', path)),
  ],
  [
    'an object that is a directory',
    true,
    /no regular file|instead of/,
    ({ object }) => replace(object, path => fs.mkdirSync(path)),
  ],
  [
    'an image that was cut',
    true,
    /the image is damaged/,
    ({ root, id }) => fs.truncateSync(`${root}/commits/${id}/commit.cfs`, 4096),
  ],
  ['an image that is gone', true, /it has no image/, ({ root, id }) => fs.rmSync(`${root}/commits/${id}/commit.cfs`)],
  ['the image of another commit', true, /of another tree/, ({ root, id }) => copyOther(root, id)],
  [
    'a name in an image',
    true,
    /another tree|out of order/,
    ({ root, id }) => flipText(`${root}/commits/${id}/commit.cfs`, 'tiny'),
  ],
  [
    'content in an image',
    true,
    /another tree/,
    ({ root, id }) => flipText(`${root}/commits/${id}/commit.cfs`, 'in the image'),
  ],
  [
    'what leads to an object',
    true,
    /another object|another tree/,
    ({ root, id }) => flipText(`${root}/commits/${id}/commit.cfs`, 'overlay.redirect', 19),
  ],
  [
    'a byte of an image that no tree has',
    true,
    /composefs.digest is/,
    ({ root, id }) => flip(`${root}/commits/${id}/commit.cfs`, 100),
  ],
  [
    'metadata.toml that is gone',
    true,
    /metadata.toml is damaged: it is gone/,
    ({ root, id }) => fs.rmSync(`${root}/commits/${id}/metadata.toml`),
  ],
  ['metadata.toml that is garbage', true, /it is no TOML/, edit(() => 'what?')],
  [
    'another metadata_hash',
    true,
    /metadata_hash is/,
    edit(text => text.replace(/metadata_hash = "../, 'metadata_hash = "zz')),
  ],
  [
    'another merkle_root',
    true,
    /merkle_root is/,
    edit(text => text.replace(/merkle_root = ".{8}/, 'merkle_root = "00000000')),
  ],
  ['another count of files', true, /files.count is 77/, edit(text => text.replace(/\ncount = \d+/, '\ncount = 77'))],
  ['another size', true, /total_size is 5/, edit(text => text.replace(/total_size = \d+/, 'total_size = 5'))],
  ['another leaf_count', true, /leaf_count is 5/, edit(text => text.replace(/leaf_count = \d+/, 'leaf_count = 5'))],
  ['another tree_depth', true, /tree_depth is 9/, edit(text => text.replace(/tree_depth = \d+/, 'tree_depth = 9'))],
  ['a timestamp that is gone', true, /a field is missing/, edit(text => text.replace(/timestamp = .*\n/, ''))],
]

for (const [what, isQuick, said, plant] of DAMAGES) {
  test(`verify finds ${what}`, async () => {
    const { store, id, object } = await storeWithCommit()
    plant({ root: store.store.path, id, object })
    const full = store.run(['verify', 'app:v1'])
    assert.equal(full.status, 9, full.stderr)
    assert.match(full.stdout, said)
    const { findings } = await verifyCommits(store, { reference: parseReference('app:v1'), quick: true })
    assert.equal(findings.length > 0, isQuick)
    assert.equal(store.run(['verify', 'app:v2']).status, 0)
    assert.equal(store.run(['verify', '--quick']).status, isQuick ? 9 : 0)
  })
}

test('many objects are read by several threads, and each that is damaged is found', async () => {
  const store = createTestStore()
  const files = Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`d${i % 7}/f${i}`, content(`file ${i} `)]))
  await store.importFiles('app:v1', files)
  const { objects } = listContents(store.store.path)
  const damaged = [objects[0], objects[333], objects[699]]
  for (const digest of damaged) flip(pathOf(store, digest), 7)
  const { findings, objects: checked } = await verifyCommits(store, { reference: undefined, quick: false })
  assert.equal(checked, 700)
  assert.deepEqual(
    findings.map(({ what }) => what).sort(),
    damaged.map(digest => `object ${digest}`),
  )
})

test('verification stops when it is asked to', async () => {
  const { store } = await storeWithCommit()
  const controller = new AbortController()
  controller.abort()
  await assert.rejects(verifyCommits({ ...store, signal: controller.signal }, { reference: undefined, quick: false }), {
    name: 'AbortError',
  })
})

function replace(path: string, make: (path: string) => void): void {
  fs.rmSync(path)
  make(path)
}

function copyOther(root: string, id: string): void {
  const other = fs.readdirSync(`${root}/commits`).find(name => name !== id)
  fs.rmSync(`${root}/commits/${id}/commit.cfs`)
  fs.copyFileSync(`${root}/commits/${other}/commit.cfs`, `${root}/commits/${id}/commit.cfs`)
}

function flipText(path: string, text: string, behind = 0): void {
  const at = fs.readFileSync(path).indexOf(text)
  assert.ok(at > 0)
  flip(path, at + behind)
}

function edit(change: (text: string) => string): Plant {
  return ({ root, id }) => {
    const path = `${root}/commits/${id}/metadata.toml`
    const text = fs.readFileSync(path, 'utf8')
    assert.notEqual(change(text), text)
    fs.writeFileSync(path, change(text))
  }
}
