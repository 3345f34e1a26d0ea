import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { parseLabel } from '../../../src/names/label.ts'
import { parseTag } from '../../../src/names/tag.ts'
import { readTag } from '../../../src/refs/tags.ts'
import {
  createObject,
  getObject,
  type Key,
  type KubeObject,
  patchObject,
  type Resource,
} from '../../../src/kube/client/objects.ts'
import { type Claim, CLAIMS, CSI_NODES, NODES, STORAGE_CLASSES, VOLUMES } from '../../../src/kube/resources/core.ts'
import { STRATUM_COMMITS } from '../../../src/kube/resources/stratum.ts'
import { waitFor } from '../support/wait.ts'
import { deleteByHand, startApi } from './support/api.ts'
import { startController } from './support/controller-lab.ts'
import { ask, change, ended, labelUntil, request, startNode, until, verdict } from './support/node-lab.ts'

const api = await startApi()
after(() => api[Symbol.asyncDispose]())
const { admin } = api
await api.createNamespace('team-a')
await api.createNode('node-1')
let node = await startNode(api, 'node-1')
const controller = await startController(api)
after(async () => {
  await node[Symbol.asyncDispose]()
  await controller[Symbol.asyncDispose]()
})
const head = await node.head('team-a/web')
const tagOf = (tag: string): string | undefined => readTag(node.store.store, parseLabel('team-a/web'), parseTag(tag))

let files = 0
async function commit(name: string, spec: Record<string, unknown>): ReturnType<typeof ended> {
  fs.writeFileSync(`${head}/file-${++files}`, `content of ${files}`)
  await ask(api, 'team-a', name, { label: 'web', consistency: 'Live', ...spec })
  const object = await ended(api, 'team-a', name)
  assert.equal(verdict(object, 'Ready'), 'True Completed')
  await until(api, 'team-a', name, ({ metadata }) => (metadata.finalizers ?? []).length > 0)
  return object
}

async function remove(name: string): Promise<void> {
  const object = await request(api, 'team-a', name)
  if (object !== undefined) await deleteByHand(admin, STRATUM_COMMITS, object)
}

const isGone = (name: string): Promise<true> =>
  waitFor(`${name} to be gone`, async () => (await request(api, 'team-a', name)) === undefined, { limitSeconds: 90 })

const nodeReady = (name: string, isReady: boolean): Promise<unknown> =>
  patchObject(
    admin,
    NODES,
    { name },
    { status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] } },
    { subresource: 'status' },
  )

test('a request that is deleted keeps its tags with Retain, and takes those that it made along with Delete', async () => {
  await commit('retained', { tags: [{ name: 'kept' }] })
  await remove('retained')
  await isGone('retained')
  assert.ok(tagOf('kept'))
  await commit('base', { tags: [{ name: 'moved' }] })
  await commit('deleted', { tags: [{ name: 'made' }, { name: 'moved', policy: 'Move' }], deletionPolicy: 'Delete' })
  await remove('deleted')
  await isGone('deleted')
  assert.equal(tagOf('made'), undefined)
  assert.ok(tagOf('moved'), 'it moved that tag and did not make it')
})

test('a tag that names another commit by now stays when its request is deleted', async () => {
  await commit('first', { tags: [{ name: 'moving' }], deletionPolicy: 'Delete' })
  const next = await commit('second', { tags: [{ name: 'moving', policy: 'Move' }] })
  await remove('first')
  await isGone('first')
  assert.equal(tagOf('moving'), next.status?.commitId)
})

test('the policy can become Delete later', async () => {
  await commit('changed', { tags: [{ name: 'changed' }] })
  await change(api, 'team-a', 'changed', { deletionPolicy: 'Delete' })
  await remove('changed')
  await isGone('changed')
  assert.equal(tagOf('changed'), undefined)
})

test('a node that does not answer gets a tombstone, and removes the tags when it is back', async () => {
  await commit('buried', { tags: [{ name: 'buried' }], deletionPolicy: 'Delete' })
  await node.stop()
  const object = await getObject(admin, NODES, { name: 'node-1' })
  await deleteByHand(admin, NODES, object)
  await remove('buried')
  await isGone('buried')
  const told = await labelUntil(api, 'team-a', 'web', ({ status }) => (status?.tombstones ?? []).length > 0)
  assert.deepEqual(told.status?.tombstones?.[0].tags, ['buried'])
  assert.ok(tagOf('buried'))
  await api.createNode('node-1')
  // The token was bound to the old Node: a new pod gets a new one.
  node = await startNode(api, 'node-1', node.store)
  await labelUntil(api, 'team-a', 'web', ({ status }) => (status?.tombstones ?? []).length === 0)
  await waitFor('the tag to go', () => tagOf('buried') === undefined)
})

test('HEAD on a node that is not ready, and on one that is gone, is told on request and label', async () => {
  await node.stop()
  await nodeReady('node-1', false)
  await ask(api, 'team-a', 'waits', { label: 'web', consistency: 'Live' })
  await until(api, 'team-a', 'waits', object => verdict(object, 'Ready') === 'False NodeNotReady')
  await labelUntil(api, 'team-a', 'web', ({ status }) => status?.conditions?.[0]?.reason === 'NodeNotReady')
  await deleteByHand(admin, NODES, await getObject(admin, NODES, { name: 'node-1' }))
  const gone = await until(api, 'team-a', 'waits', object => verdict(object, 'Ready') === 'False NodeGone')
  assert.match(JSON.stringify(gone.status?.conditions), /kubectl stratum release web -n team-a/)
  await labelUntil(api, 'team-a', 'web', ({ status }) => status?.conditions?.[0]?.reason === 'NodeGone')
  await api.createNode('node-1')
  node = await startNode(api, 'node-1', node.store)
  assert.equal(verdict(await ended(api, 'team-a', 'waits'), 'Ready'), 'True Completed')
  await labelUntil(api, 'team-a', 'web', ({ status }) => status?.conditions?.[0]?.reason === 'NodeReady')
})

test('a request that a node had begun is ended only when that node is gone for ever', async () => {
  await node.stop()
  await ask(api, 'team-a', 'begun', { label: 'web', deadlineSeconds: 1, maxPauseMilliseconds: 1, suspend: true })
  const taken = {
    nodeName: 'node-1',
    conditions: [
      { type: 'Accepted', status: 'True', reason: 'Accepted', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
    ],
  }
  await patchObject(
    admin,
    STRATUM_COMMITS,
    { namespace: 'team-a', name: 'begun' },
    { status: taken },
    { subresource: 'status' },
  )
  await nodeReady('node-1', false)
  await until(api, 'team-a', 'begun', object => verdict(object, 'Ready') === 'Unknown NodeNotReady')
  assert.equal(
    (await request(api, 'team-a', 'begun'))?.status?.completionTime,
    undefined,
    'its deadline is over, but only the node knows',
  )
  await deleteByHand(admin, NODES, await getObject(admin, NODES, { name: 'node-1' }))
  assert.equal(verdict(await ended(api, 'team-a', 'begun'), 'Ready'), 'False NodeGone')
  await api.createNode('node-1')
  node = await startNode(api, 'node-1', node.store)
})

test('the start-up taint goes when kubelet knows the plugin, others stay', async () => {
  await api.createNode('node-9')
  const taints = [
    { key: 'stratum.csi.dev/not-ready', effect: 'NoSchedule' },
    { key: 'other', effect: 'NoSchedule' },
  ]
  await patchObject(admin, NODES, { name: 'node-9' }, { spec: { taints } })
  await createObject(admin, CSI_NODES, {
    metadata: { name: 'node-9' },
    spec: { drivers: [{ name: 'x.y', nodeID: 'n' }] } as never,
  })
  await new Promise(resolve => setTimeout(resolve, 500))
  assert.equal((await getObject(admin, NODES, { name: 'node-9' }))?.spec?.taints?.length, 2)
  const drivers = [
    { name: 'x.y', nodeID: 'n' },
    { name: 'stratum.csi.dev', nodeID: 'n' },
  ]
  await patchObject(admin, CSI_NODES, { name: 'node-9' }, { spec: { drivers } })
  await waitFor('the taint to go', async () => {
    const left = (await getObject(admin, NODES, { name: 'node-9' }))?.spec?.taints ?? []
    return left.length === 1 && left[0].key === 'other'
  })
})

const make = (kind: Resource<KubeObject>, object: object): Promise<KubeObject> =>
  createObject(admin, kind, object as never)
const claimSpec = (more: object): object => ({
  accessModes: ['ReadWriteOnce'],
  storageClassName: 'stratum',
  resources: { requests: { storage: '1Gi' } },
  ...more,
})
const claimKey = (name: string): Key => ({ namespace: 'team-a', name })
const selectedNode = ({ metadata }: Claim): string | undefined =>
  metadata.annotations?.['volume.kubernetes.io/selected-node']
const selected = (name: string): Promise<string> =>
  waitFor(`a node for ${name}`, async () => {
    const claim = await getObject(admin, CLAIMS, claimKey(name))
    return claim === undefined ? undefined : selectedNode(claim)
  })

test('clones and claims that begin with a tag are sent to the node of their source', async () => {
  await make(STORAGE_CLASSES, {
    metadata: { name: 'stratum' },
    provisioner: 'stratum.csi.dev',
    volumeBindingMode: 'WaitForFirstConsumer',
  })
  await make(STORAGE_CLASSES, {
    metadata: { name: 'early' },
    provisioner: 'stratum.csi.dev',
    volumeBindingMode: 'Immediate',
  })
  await make(STORAGE_CLASSES, {
    metadata: { name: 'other' },
    provisioner: 'x.y',
    volumeBindingMode: 'WaitForFirstConsumer',
  })
  const terms = [{ matchExpressions: [{ key: 'topology.stratum.csi.dev/node', operator: 'In', values: ['node-9'] }] }]
  const csi = {
    driver: 'stratum.csi.dev',
    volumeHandle: 'h',
    volumeAttributes: { 'storage.kubernetes.io/csiProvisionerIdentity': 'x' },
  }
  await make(VOLUMES, {
    metadata: { name: 'source' },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: ['ReadWriteOnce'],
      csi,
      nodeAffinity: { required: { nodeSelectorTerms: terms } },
    },
  })
  await make(CLAIMS, { metadata: claimKey('source'), spec: claimSpec({ volumeName: 'source' }) })
  await make(CLAIMS, {
    metadata: claimKey('clone'),
    spec: claimSpec({ dataSource: { kind: 'PersistentVolumeClaim', name: 'source' } }),
  })
  assert.equal(await selected('clone'), 'node-9')
  await make(CLAIMS, {
    metadata: claimKey('clone-early'),
    spec: claimSpec({ storageClassName: 'early', dataSource: { kind: 'PersistentVolumeClaim', name: 'source' } }),
  })
  assert.equal(await selected('clone-early'), 'node-9')
  const from = { annotations: { 'stratum.dev/from': 'web:kept' } }
  await make(CLAIMS, { metadata: { ...claimKey('from-tag'), ...from }, spec: claimSpec({}) })
  assert.equal(await selected('from-tag'), 'node-1')
  await make(CLAIMS, { metadata: { ...claimKey('theirs'), ...from }, spec: claimSpec({ storageClassName: 'other' }) })
  await make(CLAIMS, { metadata: claimKey('empty'), spec: claimSpec({}) })
  await new Promise(resolve => setTimeout(resolve, 1000))
  for (const name of ['theirs', 'empty']) {
    const claim = await getObject(admin, CLAIMS, claimKey(name))
    assert.equal(claim === undefined ? 'missing' : selectedNode(claim), undefined)
  }
})

test('one of two replicas leads; the other takes over', async () => {
  const leads = async ({ metrics }: typeof controller): Promise<boolean> =>
    ((await metrics.leader.get()).values[0]?.value ?? 0) === 1
  const second = await startController(api)
  await new Promise(resolve => setTimeout(resolve, 2000))
  assert.deepEqual([await leads(controller), await leads(second)], [true, false])
  await controller[Symbol.asyncDispose]()
  await waitFor('the second to lead', () => leads(second))
  fs.writeFileSync(`${head}/more`, 'more')
  await ask(api, 'team-a', 'after', { label: 'web', consistency: 'Live', ttlSecondsAfterFinished: 0 })
  await isGone('after')
  await second[Symbol.asyncDispose]()
  const lease = await getObject(
    admin,
    { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true },
    { namespace: 'stratum-system', name: 'stratum-controller' },
  )
  assert.equal((lease as unknown as { spec: { holderIdentity?: string } }).spec.holderIdentity ?? '', '', 'given back')
})
