import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { cluster, get, type KubeObject, kubectl, list, nodeNamed } from './support/cluster.ts'
import { onNode } from './machine/node.ts'
import { pluginOn } from './support/driver.ts'
import { ensureSnapshotController, helm, installChart, NAMESPACE, RELEASE } from './support/install.ts'
import { claim, type Pod, startPod } from './support/pods.ts'
import { createClaim, DRIVER } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** The life of a release, with a pod that writes all the time. */

before(ensureSnapshotController)

const NODE = cluster.nodes[0].name
const WRITER = 'n=0; while n=$((n + 1)); do echo $n >> /data/log && sync /data/log || exit 1; sleep 0.05; done'
let volume: string
let writer: Pod

async function assertWritesOn(): Promise<void> {
  const line = async (): Promise<number> => Number(await writer.sh('tail -n 1 /data/log'))
  const before = await line()
  await waitFor('the pod to write on', async () => (await line()) > before + 10)
  const lines = (await writer.sh('cat /data/log')).split('\n').map(Number)
  for (const [index, each] of lines.entries()) assert.equal(each, index + 1)
}

test('Helm installs it into a cluster that never saw it, and the driver is registered on every node', async () => {
  await installChart('install')
  for (const node of cluster.nodes) {
    const { spec } = await get('csinode', node.name)
    const driver = spec.drivers.find((it: KubeObject) => it.name === DRIVER)
    assert.equal(driver.nodeID, node.name)
    assert.deepEqual(driver.topologyKeys, ['topology.stratum.csi.dev/node'])
  }
})

test('helm test passes', async () => {
  const output = await helm('test', RELEASE, '--timeout', '4m')
  assert.match(output, /Phase:\s+Succeeded/)
  assert.doesNotMatch(output, /Phase:\s+Failed/)
})

test('an upgrade replaces every pod of the driver while pods write', async () => {
  volume = await createClaim()
  writer = await startPod({ node: NODE, command: WRITER, volumes: { '/data': claim(volume) } })
  const before = await pluginOn(NODE)
  await installChart('upgrade', '--set', 'logLevel=debug')
  assert.notEqual((await pluginOn(NODE)).metadata.uid, before.metadata.uid)
  await assertWritesOn()
  const second = await startPod({ node: NODE, volumes: { '/data': claim(volume) } })
  await second.sh('test -s /data/log')
  await second.delete()
})

test('a rollback brings the release back as it was', async () => {
  const before = await pluginOn(NODE)
  await helm('rollback', RELEASE, '1', '--wait', '--timeout', '5m')
  const after = await pluginOn(NODE)
  assert.notEqual(after.metadata.uid, before.metadata.uid)
  const { env } = after.spec.containers[0]
  assert.equal(env.find((it: KubeObject) => it.name === 'STRATUM_LOG_LEVEL').value, 'info')
  await assertWritesOn()
})

test('uninstalling is refused while a pod uses a volume, and names the pod', async () => {
  await assert.rejects(helm('uninstall', RELEASE, '--wait', '--timeout', '3m'))
  const logs = await kubectl(
    'logs',
    '--namespace',
    NAMESPACE,
    '--selector',
    'batch.kubernetes.io/job-name',
    '--tail=50',
  )
  assert.match(logs, new RegExp(writer.name))
  await assertWritesOn()
})

test('uninstalling removes everything but the data, and a new release finds it', async () => {
  await writer.delete()
  await helm('uninstall', RELEASE, '--wait', '--timeout', '3m')
  const kinds = [
    'all,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,csidrivers,storageclasses,volumesnapshotclasses',
    'validatingadmissionpolicies,validatingadmissionpolicybindings,poddisruptionbudgets',
  ].join(',')
  const ofRelease = ['--all-namespaces', '--selector', `app.kubernetes.io/instance=${RELEASE}`]
  await waitFor('nothing to be left', async () => (await list(kinds, ...ofRelease)).length === 0, {
    explain: () => kubectl('get', kinds, ...ofRelease),
  })
  assert.match(await onNode(cluster, nodeNamed(NODE), 'ls', ['/var/lib/stratum']), /objects/)
  await installChart('install')
  const pod = await startPod({ volumes: { '/data': claim(volume) } })
  await pod.sh('test -s /data/log')
  await pod.delete()
})
