import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { countUnmanaged } from '../../../src/kube/controller/watch-snapshots.ts'
import { programPath, SIDECARS } from '../programs/programs.ts'
import { waitFor } from '../support/wait.ts'
import { startApi } from './support/api.ts'

const api = await startApi()
after(() => api[Symbol.asyncDispose]())
const { server } = await api.as('controller')
const { signal } = new AbortController()

test('a cluster without the kinds of external-snapshotter has none that wait', async () => {
  assert.equal(await countUnmanaged(server, signal), 0)
})

test('contents of ours that no node was named for are counted', async () => {
  await api.kubectl(['apply', '--server-side', '--kustomize', programPath(SIDECARS, 'snapshot-definitions')])
  const content = (name: string, driver: string, labels: object): object => ({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotContent',
    metadata: { name, labels },
    spec: {
      driver,
      deletionPolicy: 'Retain',
      source: { volumeHandle: 'vol-1' },
      volumeSnapshotRef: { namespace: 'team-a', name },
    },
  })
  const items = [
    content('waits', 'stratum.csi.dev', {}),
    content('managed', 'stratum.csi.dev', { 'snapshot.storage.kubernetes.io/managed-by': 'node-1' }),
    content('of-others', 'other.csi.dev', {}),
  ]
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
  await waitFor('the kinds to be served', () => api.kubectl(['create', '-f', '-'], list))
  assert.equal(await countUnmanaged(server, signal), 1)
})
