import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { createEmptyCommit } from '../../src/repository/mount.ts'
import { createHead } from '../../src/heads/create-head.ts'
import { parseLabel } from '../../src/names/label.ts'
import { writeVolume, volumeIdFor } from '../../src/volumes/volume-store.ts'
import type { VolumeId } from '../../src/volumes/volume-record.ts'
import {
  type Answer,
  ask,
  createCsiLab,
  createPod,
  publish,
  publishRequest,
  targetOf,
  unpublish,
  type Wish,
} from '../support/csi.ts'
import { fingerprints } from '../support/store.ts'

/** Whatever is asked for: what is not meant for the caller is refused, with the right code, and nothing is changed. */
const lab = await createCsiLab()
await lab.start()
after(() => lab[Symbol.asyncDispose]())

const TAG = { attributes: { label: 'team-a/web', tag: 'v1' }, readonly: true } as const
const put = (wish: Wish): Promise<Answer> => publish(lab.client(), wish)
const take = ({ volumeId, target }: Wish): Promise<Answer> => unpublish(lab.client(), volumeId, target)
const inline = (attributes: Record<string, string>, wish: Partial<Wish> & { namespace?: string } = {}): Wish =>
  lab.wish('csi-0123', { attributes, ephemeral: true, ...wish })

async function refused(answer: Promise<Answer>, codes: string, what: string): Promise<void> {
  const { code, message } = await answer
  assert.ok(codes.split(' ').includes(code), `${what}: ${code} ${message}`)
  assert.ok(message.length > 0 && message.length < 1000, `${what}: ${message.length}`)
}

function assertNothing(): void {
  assert.deepEqual(lab.mounts(), [])
  assert.deepEqual(lab.notes(), [])
  assert.deepEqual(fs.globSync(`${lab.kubeletDir}/pods/*/volumes/*/*/mount`), [])
}

test('an inline volume shows tags of its own namespace or the library, read-only whatever it asks for', async () => {
  for (const [attributes, file] of [
    [{ label: 'web', tag: 'v1' }, 'one'],
    [{ label: 'web:v2' }, 'two'],
    [{ label: 'library/base', tag: 'v1' }, 'library'],
  ] as const) {
    const wish = inline(attributes, { readonly: false, flags: ['rw'] })
    assert.equal((await put(wish)).code, 'OK')
    assert.equal(fs.readFileSync(`${wish.target}/file`, 'utf8'), file)
    assert.throws(() => fs.writeFileSync(`${wish.target}/file`, 'no'), { code: 'EROFS' })
    assert.equal((await take(wish)).code, 'OK')
  }
  assertNothing()
})

test('a pod in team-a does not reach team-b', async () => {
  const reach = [
    'team-b/secret',
    '../team-b/secret',
    '/team-b/secret',
    'library/../team-b/secret',
    'library//team-b/secret',
    'TEAM-B/secret',
    'team-b%2Fsecret',
    'team-b\u2215secret',
    'team\u2010b/secret',
    'team-b/secret:v1@sha256',
    'library',
  ]
  for (const label of reach)
    await refused(put(inline({ label, tag: 'v1' })), 'NOT_FOUND INVALID_ARGUMENT', `inline ${label}`)
  await refused(put(inline({ label: 'web', tag: 'HEAD' })), 'INVALID_ARGUMENT', 'inline HEAD')
  await refused(put(inline({ label: 'web' })), 'INVALID_ARGUMENT', 'inline without a tag')
  await refused(put(inline({ label: 'web', tag: '../v1' })), 'INVALID_ARGUMENT', 'inline tag ..')
  await refused(put(inline({ label: 'web', tag: 'v1' }, { namespace: 'library' })), 'PERMISSION_DENIED', 'library')
  await refused(put(inline({ label: 'web', tag: 'v1' }, { namespace: '../x' })), 'INVALID_ARGUMENT', 'namespace ..')
  const head = { attributes: { label: 'team-b/secret' } }
  await refused(put(lab.wish('pv', head)), 'PERMISSION_DENIED', 'the HEAD of a static PV')
  await refused(put(lab.wish('pv', { attributes: { label: 'library/base' } })), 'PERMISSION_DENIED', 'library HEAD')
  assertNothing()
})

test('who lies about the pod is refused by its target path', async () => {
  const [own, other] = [createPod('team-a'), createPod('team-b')]
  const target = targetOf(lab.kubeletDir, other)
  await refused(put(lab.wish('pv', { ...TAG, pod: own, target })), 'PERMISSION_DENIED', 'the target of another pod')
  const { uid, name } = own
  for (const pod of [undefined, { uid, name, namespace: '' }, { uid: '', name, namespace: 'team-a' }])
    await refused(put({ ...lab.wish('pv', { ...TAG, pod: own }), pod }), 'INVALID_ARGUMENT', 'no podInfo')
  assertNothing()
})

function provision(name: string, label: string, namespace: string): VolumeId {
  const { store } = lab.store
  const id = volumeIdFor(store, name)
  writeVolume(store, {
    id,
    name,
    label: parseLabel(label),
    created: new Date().toISOString(),
    state: 'ready',
    onDelete: 'Head',
    uid: 0,
    gid: 0,
    mode: 0o755,
    source: undefined,
    commit: undefined,
    capacityBytes: 0,
    claim: { namespace, name },
  })
  return id
}

test('a provisioned volume is its record: another namespace, attributes or a lost HEAD are refused', async () => {
  const { store } = lab.store
  const id = provision('mine', 'team-a/mine', 'team-a')
  await refused(put(lab.wish(id)), 'NOT_FOUND', 'a HEAD that is not in the store')
  await refused(put(lab.wish('pv', { attributes: { label: 'team-a/none' } })), 'NOT_FOUND', 'the HEAD of no label')
  for (const name of ['mine', 'none'])
    assert.equal(fs.existsSync(`${store.path}/refs/team-a%2F${name}`), false, 'no empty one in its place')
  createHead(store, parseLabel('team-a/mine'), await createEmptyCommit(store))
  const wish = lab.wish(id)
  assert.equal((await put(wish)).code, 'OK')
  fs.writeFileSync(`${wish.target}/mine`, 'x')
  await refused(put(lab.wish(id, { namespace: 'team-b' })), 'PERMISSION_DENIED', 'the volume of another namespace')
  await refused(put(lab.wish(id, TAG)), 'INVALID_ARGUMENT', 'attributes of a provisioned volume')
  assert.equal((await take(wish)).code, 'OK')
  await lab.until('the end', () => lab.mounts().length === 0)
  for (const other of [
    `vol-${'0'.repeat(8)}-${'0'.repeat(24)}`,
    `${id.slice(0, -1)}x`,
    id.toUpperCase(),
    `../volumes/${id}`,
    'pvc-1234',
  ])
    await refused(put(lab.wish('pv', { volumeId: other })), 'NOT_FOUND', `volume ${other}`)
  assertNothing()
})

test('symlinks in the path of a target lead nowhere', async () => {
  const outside = `${lab.store.scratch}/outside`
  fs.mkdirSync(`${outside}/volumes/kubernetes.io~csi/pv`, { recursive: true })
  const pod = createPod()
  fs.symlinkSync(outside, `${lab.kubeletDir}/pods/${pod.uid}`)
  const throughPod = `${lab.kubeletDir}/pods/${pod.uid}/volumes/kubernetes.io~csi/pv/mount`
  const last = lab.wish('pv', TAG)
  fs.symlinkSync(outside, last.target)
  for (const wish of [lab.wish('pv', { ...TAG, pod, target: throughPod }), last]) {
    await refused(put(wish), 'INVALID_ARGUMENT FAILED_PRECONDITION', wish.target)
    await refused(take(wish), 'INVALID_ARGUMENT FAILED_PRECONDITION', wish.target)
  }
  fs.unlinkSync(last.target)
  fs.unlinkSync(`${lab.kubeletDir}/pods/${pod.uid}`)
  assert.deepEqual(fs.readdirSync(outside), ['volumes'])
  assertNothing()
})

test('every field of every request: what is bad is the caller’s fault, and changes nothing', async () => {
  const before = fingerprints(`${lab.store.store.path}/refs`)
  const wish = lab.wish('pv', TAG)
  const good = publishRequest(wish)
  const capability = good.volume_capability as Record<string, object>
  const context = good.volume_context as Record<string, string>
  const LONG = ['x'.repeat(129), 'x'.repeat(5000), 'x'.repeat(1 << 20)]
  const text = ['', 'a\nb', 'a\u0000b', 'a\u007f', ...LONG]
  const targets = [
    'relative/path',
    '/',
    '/etc',
    lab.kubeletDir,
    `${wish.target}/../../x`,
    `${lab.kubeletDir}/plugins/x`,
  ]
  const paths = ['', '/x\n', `/${'x'.repeat(5000)}`, ...targets, `${wish.target}/`, `${lab.kubeletDir}/pods//x/y`]
  const missing = `${lab.kubeletDir}/pods/${wish.pod?.uid}/volumes/kubernetes.io~csi/none/mount`
  const with_ = (change: object): object => ({ ...good, ...change })
  const cases: [string, object][] = [
    ['no fields', {}],
    ...text.map((value): [string, object] => [`volume_id ${value.slice(0, 8)}`, with_({ volume_id: value })]),
    ...[...paths, missing].map((value): [string, object] => [`target ${value}`, with_({ target_path: value })]),
    ['no capability', with_({ volume_capability: undefined })],
    ['no access type', with_({ volume_capability: { access_mode: capability.access_mode } })],
    ['block', with_({ volume_capability: { access_mode: capability.access_mode, block: {} } })],
    ['no access mode', with_({ volume_capability: { mount: {} } })],
    ...[0, 99, -1].map((mode): [string, object] => [
      `mode ${mode}`,
      with_({ volume_capability: { ...capability, access_mode: { mode } } }),
    ]),
    ...['ext4', 'a\nb', ...LONG].map((fs_type): [string, object] => [
      `fs_type ${fs_type.slice(0, 8)}`,
      with_({ volume_capability: { ...capability, mount: { fs_type } } }),
    ]),
    ...['loop', 'lowerdir=/etc', 'context=a b', 'ro,suid', '', 'x'.repeat(129), 'a\u0000b'].map(
      (flag): [string, object] => [
        `flag ${flag.slice(0, 12)}`,
        with_({ volume_capability: { ...capability, mount: { mount_flags: [flag] } } }),
      ],
    ),
    ...['-1', 'root', '4294967295', '1e3', ' 1', '9'.repeat(11)].map((volume_mount_group): [string, object] => [
      `group ${volume_mount_group}`,
      with_({ volume_capability: { ...capability, mount: { volume_mount_group } } }),
    ]),
    ...[
      { lable: 'x' },
      { Label: 'x' },
      { tag: 'v1:v2' },
      { label: '' },
      { label: 'team-a/web:v1' },
      { label: 'x'.repeat(5000) },
      { tag: '\u0000' },
      { tag: '.hidden' },
      { 'csi.storage.k8s.io/ephemeral': 'yes' },
    ].map((change): [string, object] => [
      `attribute ${JSON.stringify(change).slice(0, 30)}`,
      with_({ volume_context: { ...context, ...change } }),
    ]),
  ]
  const client = lab.client()
  const method = client.nodePublishVolume as Parameters<typeof ask<object, object>>[1]
  for (const [what, request] of cases) await refused(ask(client, method, request), 'INVALID_ARGUMENT', what)
  for (const value of text) await refused(unpublish(client, value, wish.target), 'INVALID_ARGUMENT', 'unpublish id')
  for (const value of paths) await refused(unpublish(client, 'pv', value), 'INVALID_ARGUMENT', `unpublish ${value}`)
  for (const label of ['none', 'team-a/none'])
    await refused(put({ ...wish, attributes: { label, tag: 'v1' } }), 'NOT_FOUND', label)
  await refused(put({ ...wish, attributes: { label: 'team-a/web', tag: 'v9' } }), 'NOT_FOUND', 'no such tag')
  assertNothing()
  assert.deepEqual(fingerprints(`${lab.store.store.path}/refs`), before)
  assert.deepEqual(fs.readdirSync(path.dirname(wish.target)), [])
})

test('what the node says of itself', async () => {
  const client = lab.client()
  const info = await ask(client, client.nodeGetInfo as Parameters<typeof ask<object, any>>[1], {})
  assert.equal(info.response.node_id, 'node-1')
  assert.deepEqual(info.response.accessible_topology.segments, { 'topology.stratum.csi.dev/node': 'node-1' })
  const { response } = await ask(client, client.nodeGetCapabilities as Parameters<typeof ask<object, any>>[1], {})
  const types = response.capabilities.map((capability: any) => capability.rpc.type)
  assert.deepEqual(types, ['GET_VOLUME_STATS', 'VOLUME_MOUNT_GROUP', 'SINGLE_NODE_MULTI_WRITER'])
  const stage = await ask(client, client.nodeStageVolume as Parameters<typeof ask<object, any>>[1], {})
  assert.equal(stage.code, 'UNIMPLEMENTED')
})
