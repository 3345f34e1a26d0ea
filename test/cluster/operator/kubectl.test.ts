import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import {
  createObject,
  deleteObject,
  getObject,
  type KubeObject,
  patchObject,
} from '../../../src/kube/client/objects.ts'
import { CLAIMS, CSI_NODES, NODES, STORAGE_CLASSES, VOLUMES } from '../../../src/kube/resources/core.ts'
import { waitFor } from '../support/wait.ts'
import { KUBERNETES, programPath } from '../programs/programs.ts'
import { startApi } from './support/api.ts'
import { startController } from './support/controller-lab.ts'
import { label, labelUntil, startNode } from './support/node-lab.ts'

/** `kubectl stratum`, found by kubectl on the PATH, against the API server alone. */
const api = await startApi()
after(() => api[Symbol.asyncDispose]())
const { admin } = api
await api.createNamespace('team-a')
for (const name of ['node-1', 'node-2']) await api.createNode(name)
const node = await startNode(api, 'node-1')
const controller = await startController(api)
after(async () => {
  await node[Symbol.asyncDispose]()
  await controller[Symbol.asyncDispose]()
})
const head = await node.head('team-a/web')

interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

const BIN = path.resolve(import.meta.dirname, '../../../bin')

async function kubectl(...args: string[]): Promise<Ran> {
  const program = programPath(KUBERNETES, 'kubectl')
  const env = {
    ...process.env,
    PATH: `${BIN}:${path.dirname(program)}:${process.env.PATH}`,
    KUBECONFIG: `${api.folder}/kubeconfig`,
    STRATUM_KUBECTL: program,
  }
  const child = spawn(program, ['stratum', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  return new Promise(resolve => child.once('close', status => resolve({ status, stdout, stderr })))
}

test('commit makes a commit, waits for it and says its id', async () => {
  fs.writeFileSync(`${head}/b`, 'b')
  const { status, stdout, stderr } = await kubectl(
    'commit',
    'web',
    '-n',
    'team-a',
    '--tag',
    'v1',
    '--move-tag',
    'nightly',
    '--consistency',
    'live',
  )
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^web:[0-9a-f]{64}\n$/)
  assert.match(stderr, /tagged .*v1.*on node node-1/)
})

test('a failure is told with its reason, and the exit status is not 0', async () => {
  fs.writeFileSync(`${head}/c`, 'c')
  const { status, stderr } = await kubectl('commit', 'web', '-n', 'team-a', '--tag', 'v1', '--consistency', 'live')
  assert.notEqual(status, 0)
  assert.match(stderr, /AlreadyExists: .*team-a\/web:v1 exists/)
})

test('what the API server refuses is told as it says it', async () => {
  const { status, stderr } = await kubectl('commit', 'Web', '-n', 'team-a')
  assert.equal(status, 2)
  assert.match(stderr, /a label has lower-case letters/)
})

test('a claim stands for its label', async () => {
  const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } }
  const annotations = { 'stratum.dev/label': 'web' }
  await createObject(admin, CLAIMS, {
    metadata: { namespace: 'team-a', name: 'data', annotations },
    spec: spec as never,
  })
  const { stdout, stderr } = await kubectl('commit', 'pvc/data', '-n', 'team-a', '--consistency', 'live', '--json')
  assert.equal((JSON.parse(stdout || '{}') as { label?: string }).label, 'web', stderr)
})

test('tags and log show what there is', async () => {
  await labelUntil(api, 'team-a', 'web', ({ status }) => status?.tags?.some(({ name }) => name === 'v1') === true)
  const tags = await kubectl('tags', 'web', '-n', 'team-a')
  assert.match(tags.stdout, /TAG\s+COMMIT\s+TIME/)
  assert.match(tags.stdout, /\nv1\s+[0-9a-f]{12}\s+20/)
  assert.match(tags.stderr, /on node-1; HEAD is on node-1/)
  const labels = await kubectl('tags', '-n', 'team-a')
  assert.match(labels.stdout, /\nweb\s+\d+\s+node-1/)
  const log = await kubectl('log', 'web', '-n', 'team-a')
  assert.match(log.stdout, /AlreadyExists/)
  assert.match(log.stdout, /v1.*Completed|Completed.*v1/)
  const missing = await kubectl('tags', 'nothing', '-n', 'team-a')
  assert.equal(missing.status, 4)
  assert.match(missing.stderr, /there is no label nothing in namespace team-a/)
})

test('release refuses while the node is ready, and gives HEAD up when it is gone', async () => {
  const refused = await kubectl('release', 'web', '-n', 'team-a')
  assert.equal(refused.status, 6)
  assert.match(refused.stderr, /HEAD of web is on node node-1, which is ready/)
  await node.stop()
  const status = { conditions: [{ type: 'Ready', status: 'False' }] }
  await patchObject(admin, NODES, { name: 'node-1' }, { status }, { subresource: 'status' })
  const done = await kubectl('release', 'web', '-n', 'team-a')
  assert.equal(done.status, 0, done.stderr)
  assert.equal((await label(api, 'team-a', 'web'))?.status?.holder, undefined)
})

test('doctor says what is wrong and what to do, and forgets a node', async () => {
  const before = await kubectl('doctor')
  assert.equal(before.status, 11)
  assert.match(before.stdout, /WRONG\s+nodes with the plugin\s+none/)
  assert.match(before.stdout, /note\s+snapshots\s+the cluster does not have this kind of object/)
  await createObject(admin, CSI_NODES, {
    metadata: { name: 'node-2' },
    spec: { drivers: [{ name: 'stratum.csi.dev', nodeID: 'n' }] } as never,
  })
  await createObject(admin, STORAGE_CLASSES, {
    metadata: { name: 'now' },
    provisioner: 'stratum.csi.dev',
    volumeBindingMode: 'Immediate',
  })
  const affinity = (nodeName: string): object => ({
    required: {
      nodeSelectorTerms: [
        { matchExpressions: [{ key: 'topology.stratum.csi.dev/node', operator: 'In', values: [nodeName] }] },
      ],
    },
  })
  const volume = (name: string, nodeName: string, volumeAttributes: object): Promise<KubeObject> =>
    createObject(admin, VOLUMES, {
      metadata: { name, finalizers: ['external-provisioner.volume.kubernetes.io/finalizer'] },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        csi: { driver: 'stratum.csi.dev', volumeHandle: name, volumeAttributes },
        nodeAffinity: affinity(nodeName),
      } as never,
    })
  await volume('pvc-1', 'node-3', { 'storage.kubernetes.io/csiProvisionerIdentity': 'x' })
  await patchObject(admin, VOLUMES, { name: 'pvc-1' }, { status: { phase: 'Released' } }, { subresource: 'status' })
  await volume('theirs', 'node-2', { label: 'team-b/web' })
  const spec = {
    accessModes: ['ReadWriteOnce'],
    volumeName: 'theirs',
    storageClassName: '',
    resources: { requests: { storage: '1Gi' } },
  }
  await createObject(admin, CLAIMS, { metadata: { namespace: 'team-a', name: 'wrong' }, spec })
  const holder = { holder: { nodeName: 'node-3', storeId: 's' } }
  await patchObject(
    admin,
    { group: 'stratum.dev', version: 'v1alpha1', kind: 'StratumLabel', plural: 'stratumlabels', namespaced: true },
    { namespace: 'team-a', name: 'web' },
    { status: holder },
    { subresource: 'status' },
  )
  const { stdout, stderr } = await kubectl('doctor')
  assert.match(stdout, /ok|note\s+nodes with the plugin/)
  assert.match(stdout, /note\s+storage classes\s+now binds at once/)
  assert.match(stdout, /WRONG\s+holders of HEADs\s+team-a\/web on nodes that are gone/)
  assert.match(stdout, /WRONG\s+volumes of nodes that are gone\s+pvc-1/)
  assert.match(stdout, /WRONG\s+claims of HEADs\s+team-a\/wrong/)
  assert.match(stderr, /kubectl stratum doctor --forget-node node-3/)
  const there = await kubectl('doctor', '--forget-node', 'node-2')
  assert.equal(there.status, 6)
  const forgot = await kubectl('doctor', '--forget-node', 'node-3')
  assert.equal(forgot.status, 0, forgot.stderr)
  assert.match(forgot.stdout, /cleared StratumLabel team-a\/web \(HEAD\)\ncleared PersistentVolume pvc-1/)
  await waitFor('the volume to go', async () => (await getObject(admin, VOLUMES, { name: 'pvc-1' })) === undefined)
  await deleteObject(
    admin,
    CLAIMS,
    (await getObject(admin, CLAIMS, { namespace: 'team-a', name: 'wrong' })) as KubeObject,
  )
})

test('without a way to the cluster it says so', async () => {
  const { status, stderr } = await kubectl('tags', '--context', 'nowhere')
  assert.notEqual(status, 0)
  assert.match(stderr, /kubectl proxy does not start: .*nowhere/)
})
