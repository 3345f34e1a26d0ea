import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { close } from '../../src/host/descriptors.ts'
import { attachMount, createMount, unmount } from '../../src/host/mount-api.ts'
import { type Answer, createCsiLab, createPod, publish, stats, targetOf, unpublish, type Wish } from '../support/csi.ts'
import { readFiles } from '../support/store.ts'

/** The Node service as kubelet calls it. Numbers in names are the rows of the tables in research/csi.md. */
const lab = await createCsiLab()
await lab.start()
after(() => lab[Symbol.asyncDispose]())

const TAG = { attributes: { label: 'team-a/web', tag: 'v1' }, readonly: true } as const
const HEAD = { attributes: { label: 'team-a/web', tag: 'HEAD' } } as const

async function ok(answer: Promise<Answer>): Promise<void> {
  const { code, message } = await answer
  assert.equal(code, 'OK', message)
}

async function refused(answer: Promise<Answer>, code: Answer['code'], words: RegExp): Promise<void> {
  const got = await answer
  assert.equal(got.code, code, got.message)
  assert.match(got.message, words)
}

const put = (wish: Wish): Promise<Answer> => publish(lab.client(), wish)
const take = ({ volumeId, target }: Wish): Promise<Answer> => unpublish(lab.client(), volumeId, target)

/** Nothing is mounted, noted or left in pods' folders once everything is unpublished. */
async function assertEmpty(): Promise<void> {
  await lab.until('the end of every mount', () => lab.mounts().length === 0)
  assert.deepEqual(lab.notes(), [])
  const left = fs.globSync(`${lab.kubeletDir}/pods/*/volumes/*/*/mount`)
  assert.deepEqual(left, [])
}

test('a tag is mounted read-only, once however often it is asked for, and goes with its target', async () => {
  for (const attributes of [TAG.attributes, { label: 'team-a/web:v1' }]) {
    const wish = lab.wish('pv-tag', { ...TAG, attributes })
    for (let times = 0; times < 3; times++) await ok(put(wish))
    assert.deepEqual(Object.keys(readFiles(wish.target)), ['file', 'folder/deep'])
    assert.equal(fs.readFileSync(`${wish.target}/file`, 'utf8'), 'one')
    assert.throws(() => fs.writeFileSync(`${wish.target}/file`, 'no'), { code: 'EROFS' })
    assert.equal(lab.mounts().length, 1)
    for (let times = 0; times < 3; times++) await ok(take(wish))
    assert.equal(fs.existsSync(wish.target), false)
    await assertEmpty()
  }
})

test('a HEAD has one overlay for all its targets, which goes with the last of them', async () => {
  const [first, second, reader] = [
    lab.wish('pv-head', HEAD),
    lab.wish('pv-head', HEAD),
    lab.wish('pv-head', { ...HEAD, readonly: true }),
  ]
  for (const wish of [first, second, reader, first]) await ok(put(wish))
  fs.writeFileSync(`${first.target}/new`, 'written')
  for (const { target } of [second, reader]) assert.equal(fs.readFileSync(`${target}/new`, 'utf8'), 'written')
  assert.throws(() => fs.writeFileSync(`${reader.target}/new`, 'no'), { code: 'EROFS' })
  const mounts = lab.mounts()
  assert.equal(mounts.length, 4)
  assert.equal(new Set(mounts.map(({ device }) => device)).size, 1, 'one superblock')
  await ok(take(first))
  await ok(take(reader))
  fs.writeFileSync(`${second.target}/new`, 'again')
  await ok(take(second))
  await assertEmpty()
  const again = lab.wish('pv-head', HEAD)
  await ok(put(again))
  assert.equal(fs.readFileSync(`${again.target}/new`, 'utf8'), 'again', 'what was written stays')
  await ok(take(again))
  await assertEmpty()
})

test('a commit made while HEAD is published becomes its base when the last target goes', async () => {
  const wish = lab.wish('pv-fold', HEAD)
  await ok(put(wish))
  fs.writeFileSync(`${wish.target}/committed`, 'x'.repeat(5000))
  const { status, stderr } = lab.store.run(['commit', 'team-a/web:folded'])
  assert.equal(status, 0, stderr)
  await ok(take(wish))
  await assertEmpty()
  const upper = `${lab.store.store.path}/refs/team-a%2Fweb/head`
  await lab.until('the fold', () => fs.readdirSync(upper).length === 0)
  await ok(put(wish))
  assert.equal(fs.statSync(`${wish.target}/committed`).size, 5000)
  await ok(take(wish))
  await assertEmpty()
})

test('3.10: a publish with the same arguments is OK, with other ones ALREADY_EXISTS', async () => {
  const tag = lab.wish('pv-a', TAG)
  const head = lab.wish('pv-b', HEAD)
  await ok(put(tag))
  await ok(put(head))
  await ok(put({ ...tag, flags: ['noexec'] })) // mount options of a PV can be edited
  await ok(put({ ...tag, mode: 'MULTI_NODE_READER_ONLY' }))
  await ok(put({ ...head, mode: 'SINGLE_NODE_WRITER' }))
  for (const other of [
    { ...tag, volumeId: 'pv-other' },
    { ...tag, attributes: { label: 'team-a/web', tag: 'v2' } },
    { ...tag, attributes: { label: 'library/base', tag: 'v1' } },
    { ...head, readonly: true },
    { ...head, volumeId: 'pv-other' },
    { ...head, ...TAG },
  ])
    await refused(put(other), 'ALREADY_EXISTS', /is published at .* already\. Asked for was/)
  assert.equal(lab.mounts().length, 3)
  assert.equal(fs.readFileSync(`${tag.target}/file`, 'utf8'), 'one')
  await ok(take(tag))
  await ok(take(head))
  await assertEmpty()
})

test('1.4: a second target follows the access mode', async () => {
  const second = (mode: Wish['mode'], wish: object): Wish => lab.wish('pv-modes', { ...wish, mode } as Partial<Wish>)
  for (const [kind, mode, allowed] of [
    [TAG, 'MULTI_NODE_READER_ONLY', true],
    [TAG, 'SINGLE_NODE_READER_ONLY', false],
    [HEAD, 'SINGLE_NODE_MULTI_WRITER', true],
    [HEAD, 'SINGLE_NODE_SINGLE_WRITER', false],
    [HEAD, 'SINGLE_NODE_WRITER', false],
    [HEAD, 'SINGLE_NODE_READER_ONLY', false],
  ] as const) {
    const [a, b] = [second(mode, kind), second(mode, kind)]
    await ok(put(a))
    await ok(put(a))
    if (allowed) await ok(put(b))
    else await refused(put(b), 'FAILED_PRECONDITION', /is published at .* allows one target/)
    assert.equal(fs.existsSync(b.target), allowed, 'nothing is left of what was refused')
    await ok(take(a))
    await ok(take(b))
  }
  const [alone, shared] = [second('SINGLE_NODE_SINGLE_WRITER', HEAD), lab.wish('pv-other-handle', HEAD)]
  await ok(put(alone))
  await refused(put(shared), 'FAILED_PRECONDITION', /SINGLE_NODE_SINGLE_WRITER allows one target.*team-a\/pod/)
  await ok(take(alone))
  await ok(put(shared))
  await refused(put(alone), 'FAILED_PRECONDITION', /SINGLE_NODE_SINGLE_WRITER allows one target/)
  await ok(take(shared))
  await assertEmpty()
})

test('modes that a volume is not made for are refused', async () => {
  await refused(put(lab.wish('pv', { ...TAG, readonly: false })), 'FAILED_PRECONDITION', /is a tag.*ReadOnlyMany/)
  for (const mode of ['MULTI_NODE_MULTI_WRITER', 'MULTI_NODE_SINGLE_WRITER'] as const)
    await refused(put(lab.wish('pv', { ...HEAD, mode })), 'FAILED_PRECONDITION', /written on one node.*ReadWriteOnce/)
  await assertEmpty()
})

test('4.1: unpublish of what never was, by any id, is OK', async () => {
  for (const id of ['never', 'vol-00000000-000000000000000000000000', 'csi-inline']) {
    const pod = createPod()
    await ok(unpublish(lab.client(), id, targetOf(lab.kubeletDir, pod)))
    await ok(unpublish(lab.client(), id, `${lab.kubeletDir}/pods/${pod.uid}/volumes/kubernetes.io~csi/none/mount`))
  }
  const wish = lab.wish('pv')
  fs.mkdirSync(wish.target)
  await ok(take(wish))
  assert.equal(fs.existsSync(wish.target), false, 'an empty target goes')
})

test('what somebody left at a target is neither hidden nor removed', async () => {
  const wish = lab.wish('pv', TAG)
  fs.mkdirSync(wish.target)
  await ok(put(wish))
  await ok(take(wish))
  fs.mkdirSync(wish.target)
  fs.writeFileSync(`${wish.target}/data`, 'somebody wrote this into a bare directory')
  await refused(put(wish), 'FAILED_PRECONDITION', /holds 1 names that no volume put there \(data\)/)
  await refused(take(wish), 'FAILED_PRECONDITION', /is no mount and holds 1 names/)
  assert.ok(fs.existsSync(`${wish.target}/data`))
  fs.rmSync(wish.target, { recursive: true })
  fs.writeFileSync(wish.target, 'a file')
  await refused(put(wish), 'FAILED_PRECONDITION', /is no directory/)
  await refused(take(wish), 'FAILED_PRECONDITION', /is no directory/)
  fs.rmSync(wish.target)
  await assertEmpty()
})

test('a foreign mount at the target stays, and so does one over ours', async () => {
  const wish = lab.wish('pv', TAG)
  fs.mkdirSync(wish.target)
  mountTmpfs(wish.target)
  await refused(put(wish), 'FAILED_PRECONDITION', /something else is mounted at/)
  await refused(take(wish), 'FAILED_PRECONDITION', /something else is mounted at/)
  unmount(wish.target)
  await ok(put(wish))
  mountTmpfs(wish.target)
  await refused(put(wish), 'FAILED_PRECONDITION', /something else is mounted at/)
  await refused(take(wish), 'FAILED_PRECONDITION', /something else is mounted at/)
  unmount(wish.target)
  await ok(put(wish))
  await ok(take(wish))
  await assertEmpty()
})

test('what was unmounted behind the plugin is mounted again', async () => {
  for (const kind of [TAG, HEAD]) {
    const wish = lab.wish('pv', kind)
    await ok(put(wish))
    unmount(wish.target)
    await ok(put(wish))
    assert.ok(fs.existsSync(`${wish.target}/file`))
    for (const { mountpoint } of lab.mounts()) unmount(mountpoint)
    await ok(put(wish))
    assert.ok(fs.existsSync(`${wish.target}/file`))
    await ok(take(wish))
    await assertEmpty()
  }
})

test('a HEAD that the command line mounted is shared, not mounted twice', async () => {
  const elsewhere = await lab.store.mount('team-a/web')
  const wish = lab.wish('pv', HEAD)
  await ok(put(wish))
  fs.writeFileSync(`${elsewhere}/seen`, 'by both')
  assert.equal(fs.readFileSync(`${wish.target}/seen`, 'utf8'), 'by both')
  await ok(take(wish))
  await lab.until('the end of our mounts', () => lab.mounts().length === 1)
  await lab.store.unmount(elsewhere)
  await assertEmpty()
})

test('a target that is in use is not torn away: its user is named', async () => {
  const wish = lab.wish('pv', TAG)
  await ok(put(wish))
  const file = fs.openSync(`${wish.target}/file`, 'r')
  await refused(take(wish), 'FAILED_PRECONDITION', new RegExp(`is in use: pid ${process.pid} .*open: `))
  fs.closeSync(file)
  await ok(take(wish))
  await assertEmpty()
})

test('the group of a pod can write into the root of a HEAD, and a tag does not care', async () => {
  const commit = async (): Promise<string> => {
    const { stdout, stderr } = lab.store.run(['commit', 'team-a/web', '--json'])
    assert.ok(stdout.length > 0, stderr)
    return JSON.parse(stdout.trim().split('\n').at(-1) as string).commit
  }
  const before = await commit()
  assert.match(before, /^[0-9a-f]{64}$/)
  const wish = lab.wish('pv', { ...HEAD, group: '4711' })
  await ok(put({ ...wish, group: '4710' }))
  await ok(take(wish))
  await ok(put(wish))
  assert.equal(await commit(), before, 'that alone makes no commit')
  const { gid, mode } = fs.statSync(wish.target)
  assert.equal(gid, 4711)
  assert.equal(mode & 0o2070, 0o2070)
  assert.equal(fs.statSync(`${wish.target}/folder`).gid, 0, 'only the root')
  const tag = lab.wish('pv-tag', { ...TAG, group: '4711' })
  await ok(put(tag))
  assert.equal(fs.statSync(tag.target).gid, 0)
  await ok(take(wish))
  await ok(take(tag))
  await assertEmpty()
})

test('mount options are those of the target', async () => {
  const options = (wish: Wish): readonly string[] =>
    lab.mounts().find(({ mountpoint }) => mountpoint === wish.target)?.options ?? []
  const plain = lab.wish('pv', TAG)
  const strict = lab.wish('pv2', { ...HEAD, flags: ['noexec', 'noatime', 'context="system_u:object_r:t:s0"'] })
  const open = lab.wish('pv2', { ...HEAD, flags: ['suid', 'dev', 'ro'] })
  for (const wish of [plain, strict, open]) await ok(put(wish))
  assert.deepEqual([...options(plain)].sort(), ['nodev', 'nosuid', 'relatime', 'ro'])
  assert.deepEqual([...options(strict)].sort(), ['noatime', 'nodev', 'noexec', 'nosuid', 'rw'])
  assert.deepEqual([...options(open)].sort(), ['relatime', 'ro'])
  await refused(put(lab.wish('pv', { ...TAG, flags: ['loop'] })), 'INVALID_ARGUMENT', /unknown mount option "loop"/)
  for (const wish of [plain, strict, open]) await ok(take(wish))
  await assertEmpty()
})

test('statistics tell what a volume holds, and NOT_FOUND where it is not published', async () => {
  const [tag, head] = [lab.wish('pv-tag', TAG), lab.wish('pv-head', HEAD)]
  await ok(put(tag))
  await ok(put(head))
  const { f_blocks, bsize } = {
    f_blocks: fs.statfsSync(lab.store.scratch).blocks,
    bsize: fs.statfsSync(lab.store.scratch).bsize,
  }
  for (const wish of [tag, head]) {
    const { response } = await stats(lab.client(), wish.volumeId, wish.target)
    const [bytes, inodes] = response?.usage ?? []
    assert.deepEqual([bytes.unit, inodes.unit], ['BYTES', 'INODES'])
    assert.equal(Number(bytes.total), f_blocks * bsize)
    assert.ok(Number(inodes.used) >= 1)
    for (const [id, path] of [
      ['other', wish.target],
      [wish.volumeId, `${wish.target}/folder`],
      [wish.volumeId, 'some/path'],
      [wish.volumeId, '/nowhere'],
    ])
      await refused(stats(lab.client(), id, path), 'NOT_FOUND', /is not published at/)
  }
  for (const wish of [tag, head]) {
    await ok(take(wish))
    await refused(stats(lab.client(), wish.volumeId, wish.target), 'NOT_FOUND', /is not published at/)
  }
  await assertEmpty()
})

function mountTmpfs(target: string): void {
  const mount = createMount('tmpfs', [], 0)
  try {
    attachMount(mount, target)
  } finally {
    close(mount)
  }
}
