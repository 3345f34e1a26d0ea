import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import type { ApiServer } from '../../../src/kube/client/api-server.ts'
import { createObject, type KubeObject, patchObject, type Resource } from '../../../src/kube/client/objects.ts'
import { CLAIMS, NODES, SNAPSHOT_CONTENTS, VOLUMES } from '../../../src/kube/resources/core.ts'
import { STRATUM_COMMITS, STRATUM_LABELS } from '../../../src/kube/resources/stratum.ts'
import { waitFor } from '../support/wait.ts'
import { HOME, resource, startApi } from './support/api.ts'
import { type Attempt, type Body, checkTable, tryCall, tryCreate, tryDelete, tryPatch } from './support/attempts.ts'

const api = await startApi()
after(() => api[Symbol.asyncDispose]())
const { admin } = api
for (const name of ['team-a', 'team-b', 'library']) await api.createNamespace(name)
for (const name of ['node-1', 'node-2']) await api.createNode(name)
const [one, none, controller] = await Promise.all([
  api.as('node', 'node-1').then(({ server }) => server),
  api.as('node').then(({ server }) => server),
  api.as('controller').then(({ server }) => server),
])

const ROLES = resource('rbac.authorization.k8s.io', 'v1', 'Role', 'roles')
const CLUSTER_ROLES = resource('rbac.authorization.k8s.io', 'v1', 'ClusterRole', 'clusterroles', false)
const BINDINGS = resource('rbac.authorization.k8s.io', 'v1', 'RoleBinding', 'rolebindings')
const CLUSTER_BINDINGS = resource('rbac.authorization.k8s.io', 'v1', 'ClusterRoleBinding', 'clusterrolebindings', false)
const CAPACITIES = resource('storage.k8s.io', 'v1', 'CSIStorageCapacity', 'csistoragecapacities')
const CRDS = resource('apiextensions.k8s.io', 'v1', 'CustomResourceDefinition', 'customresourcedefinitions', false)

const make = (kind: Resource<KubeObject>, object: Body): Promise<KubeObject> => createObject(admin, kind, object)

async function bind(
  user: string,
  namespace: string | undefined,
  role: { kind: 'Role' | 'ClusterRole'; name: string },
): Promise<void> {
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', ...role }
  const subjects = [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: user }]
  const metadata = { name: `${user}-${role.name}`, ...(namespace === undefined ? {} : { namespace }) }
  await make(namespace === undefined ? CLUSTER_BINDINGS : BINDINGS, { metadata, roleRef, subjects })
}

test('who may commit, tag, move and untag which label', async () => {
  const rules = (names: string[], verbs: string[]): object[] => [
    { apiGroups: ['stratum.dev'], resources: ['stratumcommits'], verbs: ['create', 'get', 'patch'] },
    { apiGroups: ['stratum.dev'], resources: ['labels'], resourceNames: names, verbs },
  ]
  const own = rules(['web', 'deep/er', 'library/base'], ['commit', 'tag'])
  await make(ROLES, { metadata: { name: 'web-only', namespace: 'team-a' }, rules: own })
  await make(CLUSTER_ROLES, {
    metadata: { name: 'library-writer' },
    rules: rules(['library/base'], ['commit', 'tag', 'move']),
  })
  // `edit` of a namespace is made by kube-controller-manager from the roles that say so: the chart's is one of them.
  await bind('ann', 'team-a', { kind: 'Role', name: 'web-only' })
  await bind('eve', 'team-a', { kind: 'ClusterRole', name: 'stratum-edit' })
  await bind('lib', undefined, { kind: 'ClusterRole', name: 'library-writer' })
  const as = (user: string, namespace: string, spec: object): Attempt =>
    tryCreate(api.asUser(user), STRATUM_COMMITS, { metadata: { name: 't', namespace }, spec })
  const move = { tags: [{ name: 's', policy: 'Move' }] }
  const many = Array.from({ length: 15 }, (_, i) => ({ name: `t${i}` }))
  const edits = { label: 'web', deletionPolicy: 'Delete', tags: [...many, { name: 'z', policy: 'Move' }] }
  await waitFor('the roles', async () => (await as('eve', 'team-a', { label: 'web' })) === undefined)
  await checkTable([
    ['ann commits web', 'ok', as('ann', 'team-a', { label: 'web' })],
    ['ann commits and tags web', 'ok', as('ann', 'team-a', { label: 'web', tags: [{ name: 'v1' }] })],
    ['a label with a slash in resourceNames', 'ok', as('ann', 'team-a', { label: 'deep/er' })],
    ['ann moves a tag', /ann may not move tags of label web/, as('ann', 'team-a', { label: 'web', ...move })],
    ['ann commits db', /may not commit label db/, as('ann', 'team-a', { label: 'db' })],
    [
      'ann tags db',
      /may not make tags of label db/,
      as('ann', 'team-a', { label: 'db', source: { tag: 'v1' }, tags: [{ name: 'v2' }] }),
    ],
    [
      'ann commits library/base by a role of her namespace',
      /in the whole cluster/,
      as('ann', 'team-a', { label: 'library/base' }),
    ],
    [
      'ann wants her tags deleted',
      /deletionPolicy Delete/,
      as('ann', 'team-a', { label: 'web', deletionPolicy: 'Delete' }),
    ],
    ['ann in another namespace', /cannot create resource/, as('ann', 'team-b', { label: 'web' })],
    ['eve, who has edit, does everything', 'ok', as('eve', 'team-a', edits)],
    ['eve commits library/base', /may not commit label library\/base/, as('eve', 'team-a', { label: 'library/base' })],
    ['lib commits and moves library/base', 'ok', as('lib', 'team-b', { label: 'library/base', ...move })],
    ['lib commits web', /may not commit label web/, as('lib', 'team-b', { label: 'web' })],
    [
      'nobody has labels in the namespace library',
      /library has no labels/,
      tryCreate(admin, STRATUM_COMMITS, { metadata: { name: 't', namespace: 'library' }, spec: { label: 'web' } }),
    ],
  ])
  const key = { namespace: 'team-a', name: 't-own' }
  await make(STRATUM_COMMITS, { metadata: key, spec: { label: 'db' } })
  const patch = (spec: object): Attempt => tryPatch(api.asUser('ann'), STRATUM_COMMITS, key, { patch: { spec } })
  await checkTable([['ann suspends a request for db: nothing new is asked', 'ok', patch({ suspend: true })]])
  await checkTable([['ann has its tags deleted', /deletionPolicy Delete/, patch({ deletionPolicy: 'Delete' })]])
})

/** The affinity of a volume that is on one node. */
const on = (...values: string[]): object => ({
  nodeAffinity: {
    required: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'topology.stratum.csi.dev/node', operator: 'In', values }] }],
    },
  },
})
const csi = (volumeHandle: string, volumeAttributes?: object, more: object = {}): object => ({
  csi: {
    driver: 'stratum.csi.dev',
    volumeHandle,
    ...(volumeAttributes === undefined ? {} : { volumeAttributes }),
    ...more,
  },
})
const volume = (name: string, spec: object): Body => ({
  metadata: { name },
  spec: { capacity: { storage: '1Gi' }, ...spec },
})
const RO = { accessModes: ['ReadOnlyMany'] }
const RW = { accessModes: ['ReadWriteOnce'] }
/** What external-provisioner leaves in the volumes that it makes. */
const PROVISIONED = { 'storage.kubernetes.io/csiProvisionerIdentity': 'x' }

test('static volumes are as they must be', async () => {
  const claim = (namespace: string): object => ({ claimRef: { namespace, name: 'c' } })
  const as = (spec: object, name = 'p'): Attempt => tryCreate(admin, VOLUMES, volume(name, spec))
  const web = { label: 'team-a/web' }
  const hostname = {
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] }] },
        ],
      },
    },
  }
  await checkTable([
    ['a tag', 'ok', as({ ...RO, ...csi('p', { ...web, tag: 'v1' }) })],
    ['label:tag', 'ok', as({ ...RO, ...csi('p', { label: 'team-a/web:v1' }) })],
    ['HEAD on a node', 'ok', as({ ...RW, ...on('node-1'), ...csi('p', web) })],
    [
      'HEAD, claimed from its namespace',
      'ok',
      as({ ...RW, ...on('node-1'), ...claim('team-a'), ...csi('p', { ...web, tag: 'HEAD' }) }),
    ],
    ['another driver', 'ok', as({ ...RO, csi: { driver: 'x.y', volumeHandle: 'q' } })],
    [
      'a provisioned volume, restored by an admin',
      'ok',
      as({ ...RW, ...on('node-1'), ...csi('s1.abc', PROVISIONED) }, 'pvc-1'),
    ],
    ['another handle', /volumeHandle is the name/, as({ ...RO, ...csi('q', { ...web, tag: 'v1' }) })],
    ['no label', /names a label/, as({ ...RO, ...csi('p', {}) })],
    ['no attributes', /names a label/, as({ ...RO, ...csi('p') })],
    ['the tag twice', /tag stands in/, as({ ...RO, ...csi('p', { label: 'team-a/web:v1', tag: 'v1' }) })],
    ['a tag, writable', /is read-only/, as({ ...RW, ...csi('p', { ...web, tag: 'v1' }) })],
    ['HEAD without affinity', /HEAD is on one node/, as({ ...RW, ...csi('p', web) })],
    ['hEaD without affinity', /HEAD is on one node/, as({ ...RW, ...csi('p', { label: 'team-a/web:hEaD' }) })],
    ['HEAD with the affinity of a host name', /HEAD is on one node/, as({ ...RW, ...hostname, ...csi('p', web) })],
    ['HEAD for many', /ReadWriteOnce or/, as({ accessModes: ['ReadWriteMany'], ...on('node-1'), ...csi('p', web) })],
    [
      'HEAD, claimed from elsewhere',
      /cannot be claimed from namespace/,
      as({ ...RW, ...on('node-1'), ...claim('team-b'), ...csi('p', web) }),
    ],
    [
      'HEAD of a namespace whose name begins the same',
      /cannot be claimed from/,
      as({ ...RW, ...on('node-1'), ...claim('team-a'), ...csi('p', { label: 'team-ab/web' }) }),
    ],
    [
      'reclaim policy Delete',
      /Retain/,
      as({ ...RO, persistentVolumeReclaimPolicy: 'Delete', ...csi('p', { ...web, tag: 'v1' }) }),
    ],
  ])
})

const UID = '11111111-1111-1111-1111-111111111111'

test("a node's token makes and deletes only volumes that are on it", async () => {
  const claimRef = { kind: 'PersistentVolumeClaim', namespace: 'team-a', name: 'c', uid: UID }
  const dynamic = { ...RW, persistentVolumeReclaimPolicy: 'Delete', storageClassName: 'stratum' }
  const good = { ...dynamic, claimRef, ...on('node-1'), ...csi('h', PROVISIONED) }
  const as = (server: ApiServer, spec: object, name = `pvc-${UID}`): Attempt =>
    tryCreate(server, VOLUMES, volume(name, spec))
  const secret = { nodePublishSecretRef: { name: 's', namespace: 'kube-system' } }
  const { nodeAffinity: _, ...nowhere } = good as typeof good & { nodeAffinity: unknown }
  const { csi: __, ...without } = good as typeof good & { csi: unknown }
  await checkTable([
    ['its own', 'ok', as(one, good)],
    ['of another node', /may only touch/, as(one, { ...good, ...on('node-2') })],
    ['without affinity', /may only touch/, as(one, nowhere)],
    ['of two nodes', /may only touch/, as(one, { ...good, ...on('node-1', 'node-2') })],
    ['with a token of no node', /may only touch/, as(none, good)],
    ['of the host', /may only touch/, as(one, { ...without, hostPath: { path: '/' } })],
    ['of another driver', /may only touch/, as(one, { ...good, csi: { driver: 'x.y', volumeHandle: 'q' } })],
    ['for no claim', /only creates volumes for a claim/, as(one, { ...good, claimRef: undefined })],
    [
      'a static one',
      /only creates volumes for a claim/,
      as(one, { ...RW, ...on('node-1'), ...csi('p', { label: 'team-a/web' }) }, 'p'),
    ],
    ['of a class that is not ours', /not one of stratum.csi.dev/, as(one, { ...good, storageClassName: 'other' })],
    ['with a secret', /with secrets/, as(one, { ...good, ...csi('h', PROVISIONED, secret) })],
  ])
  for (const n of [1, 2])
    await make(VOLUMES, volume(`v${n}`, { ...dynamic, ...on(`node-${n}`), ...csi(`h${n}`, PROVISIONED) }))
  await make(VOLUMES, volume('other', { ...RW, hostPath: { path: '/tmp' } }))
  const finalizers = ['kubernetes.io/pv-protection', 'external-provisioner.volume.kubernetes.io/finalizer']
  const patch = (name: string, body: object): Attempt => tryPatch(one, VOLUMES, { name }, { patch: body, real: false })
  await checkTable([
    ['a finalizer of its own', 'ok', patch('v1', { metadata: { finalizers } })],
    [
      'the reclaim policy',
      /only change the finalizers/,
      patch('v1', { spec: { persistentVolumeReclaimPolicy: 'Retain' } }),
    ],
    ['a finalizer of another', /may only touch/, patch('v2', { metadata: { finalizers: null } })],
    [
      'its status',
      /cannot patch/,
      tryPatch(one, VOLUMES, { name: 'v1' }, { patch: { status: { phase: 'Released' } }, subresource: 'status' }),
    ],
    [
      'its own is deleted while it is available',
      /only deletes volumes that are released/,
      tryDelete(one, VOLUMES, { name: 'v1' }),
    ],
    ['one of another node is deleted', /may only touch/, tryDelete(one, VOLUMES, { name: 'v2' })],
    ['one of another driver is deleted', /may only touch/, tryDelete(one, VOLUMES, { name: 'other' })],
    ['one is deleted by a token of no node', /may only touch/, tryDelete(none, VOLUMES, { name: 'v1' })],
    ['all are deleted', /cannot deletecollection/, tryCall(one, 'DELETE', '/api/v1/persistentvolumes')],
  ])
  await patchObject(admin, VOLUMES, { name: 'v1' }, { status: { phase: 'Released' } }, { subresource: 'status' })
  await checkTable([['its own is deleted when it is released', 'ok', tryDelete(one, VOLUMES, { name: 'v1' })]])
})

test("a node's token and the controller's change little of claims and nodes", async () => {
  const claim = (name: string, annotations: object): Promise<KubeObject> =>
    make(CLAIMS, {
      metadata: { name, namespace: 'default', annotations },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'none', resources: { requests: { storage: '1Gi' } } },
    })
  const provisioner = 'volume.kubernetes.io/storage-provisioner'
  const selected = 'volume.kubernetes.io/selected-node'
  await claim('ours', { [provisioner]: 'stratum.csi.dev', [selected]: 'node-1' })
  await claim('node2', { [provisioner]: 'stratum.csi.dev', [selected]: 'node-2' })
  await claim('theirs', {})
  await claim('from', { 'stratum.dev/from': 'web:v1' })
  const patch = (server: ApiServer, name: string, body: object): Attempt =>
    tryPatch(server, CLAIMS, { namespace: 'default', name }, { patch: body, real: false })
  const note = (server: ApiServer, name: string, annotations: object): Attempt =>
    patch(server, name, { metadata: { annotations } })
  const cloning = ['kubernetes.io/pvc-protection', 'provisioner.storage.kubernetes.io/cloning-protection']
  await checkTable([
    ['the label', 'ok', note(one, 'ours', { 'stratum.dev/label': 'x' })],
    ['selected-node taken away', 'ok', note(one, 'ours', { [selected]: null })],
    ['another node selected', /only select itself/, note(one, 'ours', { [selected]: 'node-2' })],
    ['another annotation', /only change the annotations/, note(one, 'ours', { x: 'y' })],
    ['another provisioner', /only change the annotations/, note(one, 'ours', { [provisioner]: 'x' })],
    ['labels', /only change the annotations/, patch(one, 'ours', { metadata: { labels: { x: 'y' } } })],
    ['protection taken away', /only change the annotations/, patch(one, 'ours', { metadata: { finalizers: null } })],
    ['the spec', /only change the annotations/, patch(one, 'ours', { spec: { volumeName: 'x' } })],
    ['a claim for another node', /none that is for another node/, note(one, 'node2', { [selected]: null })],
    ['a claim of another provisioner', /only annotate claims of/, note(one, 'theirs', { 'stratum.dev/label': 'x' })],
    ['the finalizer of a clone, on any claim', 'ok', patch(one, 'theirs', { metadata: { finalizers: cloning } })],
    ['the same, on a claim of another node', 'ok', patch(one, 'node2', { metadata: { finalizers: cloning } })],
    ['a claim deleted', /cannot delete/, tryDelete(one, CLAIMS, { namespace: 'default', name: 'ours' })],
    ['the controller selects a node', 'ok', note(controller, 'from', { [selected]: 'node-2' })],
    [
      'the controller and a claim without a source',
      /only sets selected-node/,
      note(controller, 'theirs', { [selected]: 'node-2' }),
    ],
    ['the controller and another annotation', /only sets selected-node/, note(controller, 'from', { a: 'b' })],
  ])
  const taints = [
    { key: 'stratum.csi.dev/not-ready', effect: 'NoSchedule' },
    { key: 'other', effect: 'PreferNoSchedule' },
  ]
  await patchObject(admin, NODES, { name: 'node-1' }, { spec: { taints } })
  const node = (server: ApiServer, body: object): Attempt =>
    tryPatch(server, NODES, { name: 'node-1' }, { patch: body, real: false })
  await checkTable([
    ['the controller takes our taint away', 'ok', node(controller, { spec: { taints: taints.slice(1) } })],
    [
      'the controller takes the other one away too',
      /only takes the taint/,
      node(controller, { spec: { taints: null } }),
    ],
    ['the controller labels a node', /only takes the taint/, node(controller, { metadata: { labels: { a: 'b' } } })],
    [
      'the controller makes a node unschedulable',
      /only takes the taint/,
      node(controller, { spec: { unschedulable: true } }),
    ],
    ['a node labels itself', /cannot patch resource "nodes"/, node(one, { metadata: { labels: { a: 'b' } } })],
  ])
})

test("a node's token works on its own snapshots and capacity", async () => {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
  const versions = [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema }]
  const names = { kind: 'VolumeSnapshotContent', plural: 'volumesnapshotcontents', singular: 'volumesnapshotcontent' }
  const spec = { group: 'snapshot.storage.k8s.io', scope: 'Cluster', names, versions }
  const annotations = {
    'api-approved.kubernetes.io': 'https://github.com/kubernetes-csi/external-snapshotter/pull/814',
  }
  await make(CRDS, { metadata: { name: 'volumesnapshotcontents.snapshot.storage.k8s.io', annotations }, spec })
  await api.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s'])
  const label = 'snapshot.storage.kubernetes.io/managed-by'
  for (const n of [1, 2]) {
    const content = {
      metadata: { name: `c${n}`, labels: { [label]: `node-${n}` } },
      spec: { driver: 'stratum.csi.dev' },
    }
    await waitFor('snapshots', async () => (await tryCreate(admin, SNAPSHOT_CONTENTS, content, true)) === undefined)
  }
  const patch = (name: string, body: object, subresource?: 'status'): Attempt =>
    tryPatch(
      one,
      SNAPSHOT_CONTENTS,
      { name },
      { patch: body, real: false, ...(subresource === undefined ? {} : { subresource }) },
    )
  const ready = { status: { readyToUse: true } }
  const capacity = (node: string, name = 'c'): Attempt =>
    tryCreate(one, CAPACITIES, {
      metadata: { name, namespace: HOME },
      storageClassName: 's',
      capacity: '1Gi',
      nodeTopology: { matchLabels: { 'topology.stratum.csi.dev/node': node } },
    })
  await waitFor('the policy', async () => (await patch('c2', ready, 'status')) !== undefined)
  await checkTable([
    ['the status of its own', 'ok', patch('c1', ready, 'status')],
    ['an annotation of its own', 'ok', patch('c1', { metadata: { annotations: { a: 'b' } } })],
    ['the status of another', /that it manages/, patch('c2', ready, 'status')],
    ['given to another node', /that it manages/, patch('c1', { metadata: { labels: { [label]: 'node-2' } } })],
    ['the spec of its own', /changes no spec/, patch('c1', { spec: { deletionPolicy: 'Delete' } })],
    ['its own capacity', 'ok', capacity('node-1')],
    ['the capacity of another', /its own capacity/, capacity('node-2')],
    // external-provisioner asks for this at its start and dies unless the answer is that the name is wrong.
    ['an invalid name', /metadata.name/, capacity('node-2', '#%123-invalid-name')],
  ])
})

test("a node's token answers requests of its own or nobody's, and signs with its name", async () => {
  const key = { namespace: 'default', name: 'n' }
  await make(STRATUM_COMMITS, { metadata: key, spec: { label: 'web' } })
  const status = (server: ApiServer, body: object): Attempt =>
    tryPatch(server, STRATUM_COMMITS, key, { patch: body, subresource: 'status' })
  await checkTable([
    ['without a name', /signs with its name/, status(one, { status: { observedGeneration: 1 } })],
    ['in the name of another', /signs with its name/, status(one, { status: { nodeName: 'node-2' } })],
    ['by a token of no node', /may only answer/, status(none, { status: { nodeName: 'node-1' } })],
    ['by a token of no node, with its placeholder', /may only answer/, status(none, { status: { nodeName: '?' } })],
  ])
  await checkTable([['taken', 'ok', status(one, { status: { nodeName: 'node-1' } })]])
  await checkTable([
    ['again', 'ok', status(one, { status: { nodeName: 'node-1', observedGeneration: 1 } })],
    ['let go', /signs with its name/, status(one, { status: { nodeName: null } })],
    ['the spec', /cannot patch/, tryPatch(one, STRATUM_COMMITS, key, { patch: { spec: { suspend: true } } })],
    [
      'a new one',
      /cannot create/,
      tryCreate(one, STRATUM_COMMITS, { metadata: { name: 'm', namespace: 'default' }, spec: { label: 'web' } }),
    ],
    ['deleted', /cannot delete/, tryDelete(one, STRATUM_COMMITS, key)],
  ])
  await patchObject(admin, STRATUM_COMMITS, key, { status: { nodeName: 'node-2' } }, { subresource: 'status' })
  await checkTable([['that of another', /may only answer/, status(one, { status: { nodeName: 'node-1' } })]])
  await checkTable([['by the controller', 'ok', status(controller, { status: { nodeName: null } })]])
})

test("a node's token takes HEAD only from nobody, and writes its own entries", async () => {
  const key = { namespace: 'default', name: 'l' }
  const status = (body: object): Attempt =>
    tryPatch(one, STRATUM_LABELS, key, { patch: { status: body }, subresource: 'status' })
  const mine = { nodeName: 'node-1', storeId: 's' }
  const theirs = { nodeName: 'node-2', storeId: 's' }
  await checkTable([['made', 'ok', tryCreate(one, STRATUM_LABELS, { metadata: key, spec: { label: 'l' } }, true)]])
  await checkTable([['HEAD given to another', /give it to another/, status({ holder: theirs })]])
  await checkTable([['HEAD taken', 'ok', status({ holder: mine, tagCount: 1, nodes: [{ nodeName: 'node-1' }] })]])
  await checkTable([['HEAD given back', 'ok', status({ holder: null })]])
  const tombstone = (uid: string, nodeName: string): object => ({ uid, nodeName, tags: ['a'] })
  const tombstones = [tombstone('1', 'node-1'), tombstone('2', 'node-2')]
  const full = { holder: theirs, nodes: [{ nodeName: 'node-2' }], tombstones }
  await patchObject(admin, STRATUM_LABELS, key, { status: full }, { subresource: 'status' })
  await checkTable([
    ['HEAD of another taken', /cannot take HEAD from node node-2/, status({ holder: mine })],
    ['HEAD of another released', /cannot take HEAD from node node-2/, status({ holder: null })],
    ['tags, as a stranger', /the label is held by node-2/, status({ tagCount: 9 })],
    [
      'conditions, as a stranger',
      /the label is held by node-2/,
      status({
        conditions: [
          { type: 'X', status: 'True', reason: 'Y', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
        ],
      }),
    ],
    ['the entry of another', /only its own entry/, status({ nodes: [{ nodeName: 'node-2', tagCount: 9 }] })],
    ['the tombstone of another taken away', /its own tombstones/, status({ tombstones: tombstones.slice(0, 1) })],
    ['its own tombstone made', /its own tombstones/, status({ tombstones: [...tombstones, tombstone('3', 'node-1')] })],
    ['its own entry', 'ok', status({ nodes: [{ nodeName: 'node-2' }, { nodeName: 'node-1', tagCount: 3 }] })],
  ])
  await checkTable([
    ['its own tombstone taken away', 'ok', status({ tombstones: tombstones.slice(1) })],
    [
      'compare and swap with an old version',
      /modified|Precondition|conflict/i,
      tryPatch(one, STRATUM_LABELS, key, {
        patch: { metadata: { resourceVersion: '1' }, status: { nodes: [{ nodeName: 'node-2' }] } },
        subresource: 'status',
      }),
    ],
    ['deleted', /cannot delete/, tryDelete(one, STRATUM_LABELS, key)],
  ])
})

test('each component can do what the chart says and nothing else', async () => {
  const secrets = (server: ApiServer): Attempt => tryCall(server, 'GET', '/api/v1/secrets')
  await checkTable([
    ['a node reads secrets', /cannot list resource "secrets"/, secrets(one)],
    ['the controller reads secrets', /cannot list resource "secrets"/, secrets(controller)],
    ['a node reads pods', /cannot list resource "pods"/, tryCall(one, 'GET', '/api/v1/pods')],
    [
      'a node makes a pod',
      /cannot create resource "pods"/,
      tryCall(one, 'POST', '/api/v1/namespaces/default/pods', {}),
    ],
    [
      'a node asks for a token',
      /cannot create resource "serviceaccounts\/token"/,
      tryCall(one, 'POST', `/api/v1/namespaces/${HOME}/serviceaccounts/stratum-controller/token`, {}),
    ],
    [
      'the controller makes a volume',
      /cannot create resource "persistentvolumes"/,
      tryCreate(controller, VOLUMES, volume('p', RO)),
    ],
    [
      'the controller deletes a StratumLabel',
      /cannot delete/,
      tryDelete(controller, STRATUM_LABELS, { namespace: 'default', name: 'l' }),
    ],
    [
      'the controller takes another Lease',
      /cannot update|cannot get/,
      tryCall(controller, 'GET', '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler'),
    ],
  ])
})

/** A row of `kubectl auth can-i --list` or of the table in docs/kubernetes/security.md: the resource, and its verbs in order. */
type Rights = Map<string, string>

const verbsOf = (text: string): string => text.split(' ').sort().join(' ')

async function rightsOf(account: string, namespace: string): Promise<Rights> {
  const who = `--as=system:serviceaccount:${HOME}:${account}`
  const printed = await api.kubectl(['auth', 'can-i', '--list', '--no-headers', who, '-n', namespace])
  const rows = printed.split('\n').map(line => /^(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$/.exec(line.trim()))
  return new Map(
    rows.flatMap(row => {
      const [, resource = '', urls = '', names = '', verbs = ''] = row ?? []
      const what = `${resource}${urls}${names === '' ? '' : `, only ${names}`}`
      return [[what, verbsOf(verbs)] as const]
    }),
  )
}

/** Those of the document, in the whole cluster or, with the rest, in the account's own namespace. */
function documented(account: string, withOwnNamespace: boolean): Rights {
  const file = path.resolve(import.meta.dirname, '../../../docs/kubernetes/security.md')
  const rows = fs.readFileSync(file, 'utf8').matchAll(/^\| (stratum-\w+) +\| ([^|]+?) +\| ([^|]+?) +\| ([^|]+?) +\|$/gm)
  const own = [...rows].filter(([, name, place]) => name === account && (withOwnNamespace || place === 'cluster'))
  return new Map(own.map(([, , , resource, verbs]) => [resource, verbsOf(verbs)]))
}

test('kubectl auth can-i --list says of each account what the documented table says, and nothing else', async () => {
  for (const account of ['stratum-node', 'stratum-controller']) {
    for (const namespace of ['team-a', HOME]) {
      const everybody = await rightsOf('nobody', namespace)
      const rights = [...(await rightsOf(account, namespace))].filter(([what]) => !everybody.has(what))
      const wanted = [...documented(account, namespace === HOME)]
      assert.ok(wanted.length > 10, 'the table was read')
      assert.deepEqual(rights.sort(), wanted.sort(), `${account} in ${namespace}`)
    }
  }
})
