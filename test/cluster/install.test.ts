import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cluster, get, type KubeObject, kubectl, list, nodeNamed } from './support/cluster.ts'
import { askForCommit, waitForCommit } from './support/commits.ts'
import { DRIVER_REPOSITORY } from './images/driver.ts'
import { sidecarImage } from './images/small.ts'
import { onNode } from './machine/node.ts'
import { pluginOn, stratum } from './support/driver.ts'
import {
  BEFORE,
  CURRENT,
  ensureSnapshotController,
  helm,
  installChart,
  NAMESPACE,
  RELEASE,
  type Release,
} from './support/install.ts'
import { claim, type Pod, startPod } from './support/pods.ts'
import { createClaim, DRIVER } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/**
 * The life of a release, with a pod that writes all the time: installed as of the commit before, upgraded to this one, rolled back, uninstalled
 * but for its data, and installed from nothing.
 */

before(ensureSnapshotController)

const NODE = cluster.nodes[0].name
const FIRST = BEFORE ?? CURRENT
/** Made by a release that is gone, kept by the next. */
const CRDS = ['stratumcommits.stratum.dev', 'stratumlabels.stratum.dev']
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

/** That every pod of the release runs its image. */
async function assertRuns({ tag }: Release): Promise<void> {
  const ofRelease = ['--namespace', NAMESPACE, '--selector', `app.kubernetes.io/instance=${RELEASE}`]
  const pods = (await list('pods', ...ofRelease)).filter(({ metadata }) => metadata.deletionTimestamp === undefined)
  assert.ok(pods.length > cluster.nodes.length)
  for (const { metadata, spec } of pods)
    assert.ok(spec.containers[0].image.endsWith(`:${tag}`), `${metadata.name} runs ${spec.containers[0].image}`)
}

interface LogEntry {
  readonly actor: string
  readonly operation: string
}

function isCommitOf(name: string, { actor, operation }: LogEntry): boolean {
  return operation === 'commit' && actor === `stratumcommit/default/${name}`
}

/** Asks for a commit every second until the work is done; gives their names. */
async function commitDuring(work: Promise<unknown>): Promise<string[]> {
  const names: string[] = []
  let isOver = false
  const over = work.finally(() => (isOver = true))
  while (!isOver) {
    names.push(await askForCommit({ label: volume, tags: [{ name: `during-${names.length}` }] }))
    await Promise.race([sleep(1000), over])
  }
  await over
  return names
}

test('Helm installs it into a cluster that never saw it, and the driver is registered on every node', async () => {
  await installChart('install', FIRST)
  await assertRuns(FIRST)
  for (const node of cluster.nodes) {
    const { spec } = await get('csinode', node.name)
    const driver = spec.drivers.find((it: KubeObject) => it.name === DRIVER)
    assert.equal(driver.nodeID, node.name)
    assert.deepEqual(driver.topologyKeys, ['topology.stratum.csi.dev/node'])
  }
})

test('an upgrade from the commit before replaces every pod of the driver while pods write and are committed', async t => {
  if (BEFORE === undefined)
    t.diagnostic('the commit before is not in this clone: the upgrade is from the same chart and image')
  volume = await createClaim()
  writer = await startPod({ node: NODE, command: WRITER, volumes: { '/data': claim(volume) } })
  const before = await pluginOn(NODE)
  const asked = await commitDuring(installChart('upgrade', CURRENT, '--set', 'logLevel=debug'))
  assert.notEqual((await pluginOn(NODE)).metadata.uid, before.metadata.uid)
  await assertRuns(CURRENT)
  await assertWritesOn()
  for (const name of asked) await waitForCommit(name)
  const log = (await stratum(NODE, 'log', `default/${volume}`, '--json')).trim().split('\n')
  for (const name of asked) {
    const made = log.map(text => JSON.parse(text) as LogEntry).filter(entry => isCommitOf(name, entry))
    assert.ok(made.length <= 1, `${name} made ${made.length} commits`)
  }
  await kubectl('delete', 'stratumcommit', ...asked, '--timeout=120s')
  const second = await startPod({ node: NODE, volumes: { '/data': claim(volume) } })
  await second.sh('test -s /data/log')
  await second.delete()
})

test('a rollback brings the release back as it was', async () => {
  const before = await pluginOn(NODE)
  await helm('rollback', RELEASE, '1', '--wait', '--timeout', '5m')
  const after = await pluginOn(NODE)
  assert.notEqual(after.metadata.uid, before.metadata.uid)
  await assertRuns(FIRST)
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

test('uninstalling removes everything but the data', async () => {
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
  await kubectl('delete', 'crd', ...CRDS, '--timeout=120s') // kept, as docs/kubernetes/uninstall.md says
})

test('kustomize installs the same, a second apply would change nothing, and it is gone again', async () => {
  const folder = writeKustomization()
  await kubectl('apply', '--server-side', '--kustomize', folder)
  for (const each of ['daemonset/stratum-node', 'deployment/stratum-controller'])
    await kubectl('rollout', 'status', each, '--namespace', NAMESPACE, '--timeout=180s')
  // kubectl fails where there is a difference, and also where a status changed while it looked.
  await waitFor('nothing to differ', () => kubectl('diff', '--server-side', '--kustomize', folder).then(() => true))
  const pod = await startPod({ volumes: { '/data': claim(volume) } })
  await pod.sh('test -s /data/log')
  await pod.delete()
  await kubectl('delete', '--kustomize', folder, '--timeout=180s')
})

/** What docs/kubernetes/install.md says to write, with images that the nodes have. */
function writeKustomization(): string {
  const folder = path.join(cluster.folder, 'kustomize')
  fs.mkdirSync(folder, { recursive: true })
  const deploy = path.relative(fs.realpathSync(folder), path.resolve(CURRENT.chart, '../../deploy'))
  const sidecar = (name: string): object => {
    const [newName, newTag] = sidecarImage(name).split(':')
    return { name: `registry.k8s.io/sig-storage/${name}`, newName, newTag }
  }
  const kustomization = {
    resources: [`${deploy}/base`],
    components: [`${deploy}/snapshots`],
    images: [
      { name: 'set-the-image.invalid/stratum', newName: DRIVER_REPOSITORY, newTag: CURRENT.tag },
      ...['csi-provisioner', 'csi-snapshotter'].map(sidecar),
    ],
  }
  fs.writeFileSync(path.join(folder, 'kustomization.yaml'), JSON.stringify(kustomization))
  return folder
}

test('a release that is installed from nothing finds the data, and helm test passes', async () => {
  const notes = await installChart('install', CURRENT)
  assert.match(notes, /storageClassName: stratum[^]*VolumeSnapshots need[^]*--enable-distributed-snapshotting/)
  assert.doesNotMatch(notes, /WARNING/)
  await assertRuns(CURRENT)
  const output = await helm('test', RELEASE, '--timeout', '4m')
  assert.match(output, /Phase:\s+Succeeded/)
  assert.doesNotMatch(output, /Phase:\s+Failed/)
  const pod = await startPod({ volumes: { '/data': claim(volume) } })
  await pod.sh('test -s /data/log')
  await pod.delete()
})
