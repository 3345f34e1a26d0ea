import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { manageSnapshots } from '../../../src/kube/controller/watch-snapshots.ts'
import { programPath, SIDECARS } from '../programs/programs.ts'
import { waitFor } from '../support/wait.ts'
import { startApi } from './support/api.ts'

const api = await startApi()
after(() => api[Symbol.asyncDispose]())
const { server } = await api.as('controller')
const { signal } = new AbortController()
const MANAGED_BY = 'snapshot.storage.kubernetes.io/managed-by'
const nodeOf = (storeId: string): string | undefined => (storeId === '0123abcd' ? 'node-1' : undefined)

test('a cluster without the kinds of external-snapshotter has none that wait', async () => {
  assert.deepEqual(await manageSnapshots(server, nodeOf, signal), { named: [], unmanaged: 0 })
})

test('contents that were made by hand get the node that has their snapshot; of the others, ours without a node are counted', async () => {
  await api.kubectl(['apply', '--server-side', '--kustomize', programPath(SIDECARS, 'snapshot-definitions')])
  const content = (name: string, driver: string, { labels = {}, source = {} as object }): object => ({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotContent',
    metadata: { name, labels },
    spec: { driver, deletionPolicy: 'Retain', source, volumeSnapshotRef: { namespace: 'team-a', name } },
  })
  const dynamic = { volumeHandle: 'vol-1' }
  const known = { snapshotHandle: 'snap-0123abcd-0123456789abcdef01234567' }
  const items = [
    content('waits', 'stratum.csi.dev', { source: dynamic }),
    content('managed', 'stratum.csi.dev', { source: dynamic, labels: { [MANAGED_BY]: 'node-1' } }),
    content('elsewhere', 'stratum.csi.dev', { source: known, labels: { [MANAGED_BY]: 'node-2' } }),
    content('of-others', 'other.csi.dev', { source: dynamic }),
    content('by-hand-of-others', 'other.csi.dev', { source: known }),
    content('by-hand', 'stratum.csi.dev', { source: known, labels: { team: 'a' } }),
    content('of-no-store', 'stratum.csi.dev', { source: { snapshotHandle: 'snap-ffffffff-0123456789abcdef01234567' } }),
    content('of-no-snapshot', 'stratum.csi.dev', { source: { snapshotHandle: '../0123abcd' } }),
  ]
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
  await waitFor('the kinds to be served', () => api.kubectl(['create', '-f', '-'], list))
  assert.deepEqual(await manageSnapshots(server, nodeOf, signal), {
    named: [{ content: 'by-hand', node: 'node-1' }],
    unmanaged: 3,
  })
  const labels = await api.kubectl(['get', 'volumesnapshotcontents', '-o', 'json'])
  const found = (JSON.parse(labels) as { items: { metadata: { name: string; labels?: object } }[] }).items
  const of = (name: string): object | undefined => found.find(({ metadata }) => metadata.name === name)?.metadata.labels
  assert.deepEqual(of('by-hand'), { team: 'a', [MANAGED_BY]: 'node-1' })
  assert.deepEqual(of('elsewhere'), { [MANAGED_BY]: 'node-2' })
  assert.equal(of('by-hand-of-others'), undefined)
})

test('the controller may name the node of nothing else, and change nothing else', async () => {
  const patch = (name: string, change: object): Promise<string> =>
    api.kubectl([
      'patch',
      'volumesnapshotcontent',
      name,
      '--type=merge',
      '-p',
      JSON.stringify(change),
      '--as=system:serviceaccount:stratum-system:stratum-controller',
    ])
  const label = { metadata: { labels: { [MANAGED_BY]: 'node-1' } } }
  for (const [name, change] of [
    ['managed', { metadata: { labels: { [MANAGED_BY]: 'node-2' } } }],
    ['waits', label],
    ['by-hand-of-others', label],
    ['of-no-store', { metadata: { labels: { other: 'x' } } }],
    ['of-no-store', { metadata: { annotations: { other: 'x' } } }],
    ['of-no-store', { metadata: label.metadata, spec: { deletionPolicy: 'Delete' } }],
  ] as const)
    await assert.rejects(patch(name, change), /the controller only names the node/, `${name} ${JSON.stringify(change)}`)
  await patch('of-no-store', label)
})
