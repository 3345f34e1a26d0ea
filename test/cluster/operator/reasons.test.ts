import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { parseLabel } from '../../../src/names/label.ts'
import { getObject, patchObject } from '../../../src/kube/client/objects.ts'
import { NODES } from '../../../src/kube/resources/core.ts'
import { readHead } from '../../../src/refs/head-file.ts'
import { paths } from '../../../src/store/layout.ts'
import { lockLabel } from '../../../src/store/locks.ts'
import { createTestStore } from '../../support/store.ts'
import { startApi } from './support/api.ts'
import { startController } from './support/controller-lab.ts'
import { ask, ended, labelUntil, startNode, until, verdict } from './support/node-lab.ts'

/** The reasons of a StratumCommit that need something to go wrong; commits.test.ts and controller.test.ts have the others. */
const api = await startApi()
after(() => api[Symbol.asyncDispose]())
await api.createNamespace('team-a')
await api.createNode('node-1')
const node = await startNode(api, 'node-1')
const controller = await startController(api)
after(async () => {
  await node[Symbol.asyncDispose]()
  await controller[Symbol.asyncDispose]()
})
const { store } = node.store
const WEB = parseLabel('team-a/web')
const head = await node.head('team-a/web')
let files = 0
const write = (): void => fs.writeFileSync(`${head}/file-${++files}`, `content of ${files}`)
const live = { label: 'web', consistency: 'Live' }

test('InProgress while a node is at it; DeadlineExceeded where it did not come to an end', async () => {
  write()
  const lock = await lockLabel(store, WEB)
  try {
    await ask(api, 'team-a', 'slow', live)
    const slow = await until(api, 'team-a', 'slow', object => verdict(object, 'Accepted') === 'True Accepted')
    assert.deepEqual(
      ['Ready', 'Committed', 'Tagged', 'Stalled'].map(type => verdict(slow, type)),
      ['Unknown InProgress', 'Unknown InProgress', 'Unknown InProgress', 'False InProgress'],
    )
    assert.equal(slow.status?.nodeName, 'node-1')
    await ask(api, 'team-a', 'late', { ...live, deadlineSeconds: 2, maxPauseMilliseconds: 1 })
    const late = await ended(api, 'team-a', 'late')
    assert.equal(verdict(late, 'Ready'), 'False DeadlineExceeded')
    assert.equal(verdict(late, 'Stalled'), 'True DeadlineExceeded')
  } finally {
    lock[Symbol.dispose]()
  }
  assert.equal(verdict(await ended(api, 'team-a', 'slow'), 'Ready'), 'True Completed')
})

test('Pending while the node that has HEAD does not answer, and says which', async () => {
  write()
  await labelUntil(api, 'team-a', 'web', ({ status }) => status?.holder?.nodeName === 'node-1')
  await node.stop()
  await ask(api, 'team-a', 'pending', live)
  const waits = await until(api, 'team-a', 'pending', object => verdict(object, 'Accepted') !== 'none')
  assert.deepEqual(
    ['Ready', 'Accepted', 'Stalled'].map(type => verdict(waits, type)),
    ['Unknown Pending', 'Unknown Pending', 'False Pending'],
  )
  assert.match(JSON.stringify(waits.status?.conditions), /waiting for node node-1/)
  await node.start()
  assert.equal(verdict(await ended(api, 'team-a', 'pending'), 'Ready'), 'True Completed')
})

test('NoNode where no ready node has the commits that are to be tagged', async () => {
  await node.store.importFiles('team-a/tags-only:v1', { f: 'f' })
  await labelUntil(api, 'team-a', 'tags-only', ({ status }) => status?.nodes?.[0]?.tagCount === 1)
  const ready = async (is: boolean): Promise<void> => {
    assert.ok(await getObject(api.admin, NODES, { name: 'node-1' }))
    const status = { conditions: [{ type: 'Ready', status: is ? 'True' : 'False' }] }
    await patchObject(api.admin, NODES, { name: 'node-1' }, { status }, { subresource: 'status' })
  }
  await ready(false)
  await ask(api, 'team-a', 'no-node', { label: 'tags-only', source: { tag: 'v1' }, tags: [{ name: 'v2' }] })
  const waits = await until(api, 'team-a', 'no-node', object => verdict(object, 'Accepted') === 'False NoNode')
  assert.match(JSON.stringify(waits.status?.conditions), /node-1 had/)
  await ready(true)
  assert.equal(verdict(await ended(api, 'team-a', 'no-node'), 'Ready'), 'True Completed')
})

test('Unclean where a power loss may have cut files: refused with their names, taken where that is allowed', async () => {
  const other = await node.head('team-a/crashed')
  fs.writeFileSync(`${other}/cut`, '')
  const file = paths.headFile(store, parseLabel('team-a/crashed'))
  const record = readHead(store, parseLabel('team-a/crashed'))
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(record?.bootId ?? 'none', 'another-boot'))
  await ask(api, 'team-a', 'unclean', { ...live, label: 'crashed' })
  const refused = await ended(api, 'team-a', 'unclean')
  assert.equal(verdict(refused, 'Ready'), 'False Unclean')
  assert.equal(verdict(refused, 'Stalled'), 'True Unclean')
  assert.match(JSON.stringify(refused.status?.conditions), /cut/)
  await ask(api, 'team-a', 'allowed', { ...live, label: 'crashed', unclean: 'Allow' })
  assert.equal(verdict(await ended(api, 'team-a', 'allowed'), 'Ready'), 'True Completed')
})

test('NoSpace while the disk of the store is full; made when there is room again', async () => {
  await api.createNode('node-2')
  const disk = mountSmallDisk()
  const small = await startNode(api, 'node-2', createTestStore(`${disk}/store`))
  try {
    const full = await small.head('team-a/full')
    const more = 'more'.repeat(250_000) // more than what is left of the disk
    fs.writeFileSync(`${full}/more`, more)
    spawnSync('dd', ['if=/dev/zero', `of=${disk}/filler`, 'bs=64k']) // until the disk is full
    await ask(api, 'team-a', 'no-space', { ...live, label: 'full' })
    const waits = await until(api, 'team-a', 'no-space', object => verdict(object, 'Stalled') === 'False NoSpace')
    assert.equal(verdict(waits, 'Ready'), 'False NoSpace')
    fs.rmSync(`${disk}/filler`)
    const made = await ended(api, 'team-a', 'no-space')
    assert.equal(verdict(made, 'Ready'), 'True Completed')
    assert.equal(small.store.run(['cat', `team-a/full:${made.status?.tags?.[0]?.name}`, 'more']).stdout, more)
  } finally {
    await small[Symbol.asyncDispose]()
    execFileSync('umount', ['--recursive', '--lazy', disk])
  }
})

/** An ext4 of its own, small enough to be filled. */
function mountSmallDisk(): string {
  const folder = fs.mkdtempSync(`${process.env.TMPDIR}/disk-`)
  const disk = `${folder}/mounted`
  fs.mkdirSync(disk)
  fs.writeFileSync(`${folder}/image`, '')
  fs.truncateSync(`${folder}/image`, 32 << 20)
  execFileSync('mkfs.ext4', ['-q', '-m', '0', `${folder}/image`])
  execFileSync('mount', ['-o', 'loop', `${folder}/image`, disk])
  return disk
}

test('Busy when something else has worked on the label for half a minute; made when that is over', async () => {
  write()
  const lock = await lockLabel(store, WEB)
  try {
    await ask(api, 'team-a', 'busy', live)
    const waits = await until(api, 'team-a', 'busy', object => verdict(object, 'Stalled') === 'False Busy')
    assert.equal(verdict(waits, 'Ready'), 'False Busy')
    assert.match(JSON.stringify(waits.status?.conditions), /team-a\/web is locked/)
  } finally {
    lock[Symbol.dispose]()
  }
  assert.equal(verdict(await ended(api, 'team-a', 'busy'), 'Ready'), 'True Completed')
})

/** Writes a request into etcd as a newer version, whose schema knew more, would have left it there. */
async function leave(name: string, spec: object): Promise<void> {
  await ask(api, 'team-a', name, { ...live, suspend: true })
  const key = Buffer.from(`/registry/stratum.dev/stratumcommits/team-a/${name}`).toString('base64')
  const etcd = async (what: string, body: object): Promise<{ kvs?: { value: string }[] }> =>
    (await fetch(`${api.etcd}/v3/kv/${what}`, { method: 'POST', body: JSON.stringify(body) })).json() as never
  const stored = JSON.parse(Buffer.from((await etcd('range', { key })).kvs![0].value, 'base64').toString())
  const metadata = { ...stored.metadata, generation: stored.metadata.generation + 1 }
  const changed = { ...stored, metadata, spec: { ...stored.spec, suspend: false, ...spec } }
  await etcd('put', { key, value: Buffer.from(JSON.stringify(changed)).toString('base64') })
}

test('InvalidSpec where a newer version has left something that this one does not know: nothing is guessed', async () => {
  write()
  const before = readHead(store, WEB)?.lastCommit
  await leave('newer-consistency', { consistency: 'Quiesced' })
  await leave('newer-source', { source: { archive: 'x' }, tags: [{ name: 'n', policy: 'IfNotPresent' }] })
  for (const name of ['newer-consistency', 'newer-source']) {
    const refused = await ended(api, 'team-a', name)
    assert.equal(verdict(refused, 'Ready'), 'False InvalidSpec', name)
    assert.match(JSON.stringify(refused.status?.conditions), /does not know (consistency Quiesced|the source)/)
  }
  assert.equal(readHead(store, WEB)?.lastCommit, before)
})

test('IntegrityError where the store is damaged: nothing is committed on top of it', async () => {
  write()
  const { base } = readHead(store, WEB) ?? {}
  assert.ok(base)
  const image = paths.image(store, base)
  const mode = fs.statSync(image).mode
  const good = fs.readFileSync(image)
  const bad = Buffer.from(good)
  bad[bad.length - 1] ^= 1
  fs.chmodSync(image, 0o644)
  fs.writeFileSync(image, bad)
  await ask(api, 'team-a', 'damaged', live)
  const refused = await ended(api, 'team-a', 'damaged')
  fs.writeFileSync(image, good)
  fs.chmodSync(image, mode)
  assert.equal(verdict(refused, 'Ready'), 'False IntegrityError')
  assert.equal(refused.status?.commitId, undefined)
  await ask(api, 'team-a', 'repaired', live)
  assert.equal(verdict(await ended(api, 'team-a', 'repaired'), 'Ready'), 'True Completed')
})
