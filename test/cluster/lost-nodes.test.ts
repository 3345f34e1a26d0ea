import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { boot, powerOff } from './machine/node.ts'
import { clusterImages, waitForNode } from './machine/start.ts'
import { apply, cluster, get, type KubeObject, kubectl, list, nodeNamed, unique } from './support/cluster.ts'
import { askForCommit, conditionOf, waitForCommit } from './support/commits.ts'
import { kubectlStratum, stratum, waitForPlugin } from './support/driver.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, createPod, type Pod, podNamed, podObject, startPod, waitForEvent } from './support/pods.ts'
import { createClaim, createStaticVolume, inline } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** A node goes: for a while, with a new disk, for ever. Never an empty volume where data was, and somebody says what to do. */

before(ensureInstalled)

const [HERE, THERE] = cluster.nodes.map(node => node.name)

async function switchOn(): Promise<void> {
  await boot(cluster, nodeNamed(THERE), clusterImages(cluster))
  await waitForNode(cluster, THERE)
  await waitForPlugin(THERE)
}

/** A claim whose HEAD is on THERE and says "kept". */
async function claimThere(prefix: string): Promise<string> {
  const label = await createClaim({ name: unique(prefix) })
  const pod = await startPod({ node: THERE, volumes: { '/data': claim(label) } })
  await pod.sh('echo kept > /data/file && sync')
  await pod.delete()
  return label
}

/** The pods of a Deployment may run anywhere, and are made again when they are evicted. */
async function deploy(label: string): Promise<() => Promise<Pod>> {
  const { spec } = podObject({ volumes: { '/data': claim(label) } })
  const labels = { app: label }
  const template = { metadata: { labels }, spec: { ...spec, restartPolicy: 'Always' } }
  await apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: label, namespace: 'default' },
    spec: { replicas: 1, strategy: { type: 'Recreate' }, selector: { matchLabels: labels }, template },
  })
  return () =>
    waitFor(`the pod of ${label}`, async () => {
      const pods = await list('pods', '--selector', `app=${label}`)
      const pod = pods.find(({ metadata }) => metadata.deletionTimestamp === undefined)
      return pod !== undefined && podNamed(pod.metadata.name)
    })
}

const ready = (name: string): Promise<string> =>
  kubectl('wait', '--for=condition=Available', `deployment/${name}`, '--timeout=180s')
const holderOf = async (label: string): Promise<KubeObject | undefined> =>
  (await get('stratumlabel', label)).status?.holder

test('a node is drained and comes back: the pod waits for it, and has its HEAD', async () => {
  const label = await claimThere('drained')
  const podOf = await deploy(label)
  await ready(label)
  const first = await podOf()
  await first.sh('echo later > /data/later && sync')
  await kubectl('drain', THERE, '--ignore-daemonsets', '--delete-emptydir-data', '--force', '--timeout=180s')
  const second = await podOf()
  assert.notEqual(second.name, first.name)
  await waitForEvent('Pod', second.name, /FailedScheduling.*(unschedulable|node affinity)/)
  await kubectl('uncordon', THERE)
  await ready(label)
  assert.equal(await (await podOf()).sh('cat /data/file /data/later'), 'kept\nlater')
  await kubectl('delete', 'deployment', label, '--timeout=120s')
})

test('requests are deleted while their node is there, and while it is away: the tags go or stay as asked', async () => {
  const label = await createClaim({ name: unique('deleted') })
  const pod = await startPod({ node: THERE, volumes: { '/data': claim(label) } })
  const requests: string[] = []
  for (const [tag, deletionPolicy] of [
    ['at-once', 'Delete'],
    ['later', 'Delete'],
    ['stays', 'Retain'],
  ]) {
    await pod.sh(`echo ${tag} > /data/${tag}`)
    const name = await askForCommit({ label, tags: [{ name: tag }], deletionPolicy })
    await waitForCommit(name)
    requests.push(name)
  }
  const tags = async (): Promise<string> => stratum(THERE, 'list', `default/${label}`)
  assert.match(await tags(), /at-once[^]*stays|stays[^]*at-once/)
  await kubectl('delete', 'scm', requests[0], '--timeout=120s')
  assert.doesNotMatch(await tags(), /at-once/)
  await powerOff(cluster, nodeNamed(THERE))
  await kubectl('delete', 'scm', requests[1], requests[2], '--timeout=180s')
  const { tombstones } = (await get('stratumlabel', label)).status
  assert.deepEqual(tombstones[0].tags, ['later'])
  assert.equal(tombstones[0].nodeName, THERE)
  await switchOn()
  await waitFor('the tag to go', async () => !(await tags()).includes('later'))
  assert.match(await tags(), /stays/)
  await waitFor('the tombstone to go', async () => {
    const { status } = await get('stratumlabel', label)
    return (status.tombstones ?? []).length === 0
  })
  await kubectl('delete', 'pod', pod.name, '--force', '--grace-period=0')
})

test('a node gets a new disk under its old name: no pod starts with an empty volume, and each is told what to do', async () => {
  const label = await claimThere('reimaged')
  const commit = await askForCommit({ label, tags: [{ name: 'v1' }] })
  await waitForCommit(commit)
  const podOf = await deploy(label)
  await ready(label)
  await powerOff(cluster, nodeNamed(THERE))
  for (const name of ['stratum', 'kubelet'])
    fs.rmSync(path.join(nodeNamed(THERE).folder, 'disk/lib', name), { recursive: true })
  await switchOn()
  const pod = await podOf()
  await waitForEvent('Pod', pod.name, /is of another store.*delete the claim.*never put in its place/)
  const staticHead = await createStaticVolume({ label: `default/${label}` }, { node: THERE })
  const others = [
    await createPod({ volumes: { '/data': claim(staticHead) } }),
    await createPod({ node: THERE, volumes: { '/data': inline({ label, tag: 'v1' }) } }),
  ]
  for (const { name } of others) await waitForEvent('Pod', name, /FailedMount.*there is no label/)
  for (const { name } of [pod, ...others]) {
    const { status } = await get('pod', name)
    assert.equal(conditionOf({ status }, 'Ready')?.status, 'False', name)
    assert.equal(status.containerStatuses?.[0]?.state?.running, undefined, name)
  }
  assert.doesNotMatch(await stratum(THERE, 'list'), new RegExp(label))
  const refused = await kubectlStratum('release', label)
  assert.notEqual(refused.status, 0)
  assert.match(refused.stderr, /--force/)
  assert.equal((await kubectlStratum('release', label, '--force')).status, 0)
  assert.equal(await holderOf(label), undefined)
  await kubectl('delete', 'deployment', label, '--timeout=120s')
  for (const each of others) await each.delete()
  await kubectl('delete', 'pvc', label, staticHead, '--timeout=180s')
  await kubectl('delete', 'pv', staticHead, '--timeout=120s')
  // Only whoever asks for a new volume gets an empty one.
  await createClaim({ name: label })
  const anew = await startPod({ node: THERE, volumes: { '/data': claim(label) } })
  assert.equal(await anew.sh('ls /data'), '')
  await anew.delete()
  await kubectl('delete', 'pvc', label, '--timeout=180s')
})

test('a node is lost for ever: its HEADs are given up only by hand, and never found empty elsewhere', async () => {
  const label = await claimThere('lost')
  await powerOff(cluster, nodeNamed(THERE))
  await kubectl('delete', 'node', THERE, '--timeout=60s')
  const request = await askForCommit({ label, tags: [{ name: 'v1' }], deadlineSeconds: 3600 })
  const gone = await waitFor('the StratumLabel to say so', async () => {
    const condition = conditionOf(await get('stratumlabel', label), 'HolderAvailable')
    return condition?.reason === 'NodeGone' && condition
  })
  const release = `kubectl stratum release ${label} -n default`
  assert.ok(gone.message.includes(release), gone.message)
  assert.ok((await kubectl('describe', 'stratumlabel', label)).includes(release))
  await waitFor('the request to say so', async () => {
    const accepted = conditionOf(await get('stratumcommit', request), 'Accepted')
    return accepted?.reason === 'NodeGone' && accepted.message.includes(release)
  })
  const volume = await createStaticVolume({ label: `default/${label}` }, { node: HERE })
  const elsewhere = await createPod({ volumes: { '/data': claim(volume) } })
  await waitForEvent('Pod', elsewhere.name, /FailedMount.*there is no label/)
  const waits = await createPod({ volumes: { '/data': claim(label) } })
  await waitForEvent('Pod', waits.name, /FailedScheduling.*(affinity|PersistentVolume)/)
  const found = await kubectlStratum('doctor')
  assert.match(found.stdout, new RegExp(`WRONG\\s+holders of HEADs\\s+.*default/${label}`))
  assert.match(found.stderr, new RegExp(`kubectl stratum doctor --forget-node ${THERE}`))
  for (const each of [elsewhere, waits]) await each.delete()
  await kubectl('delete', 'pvc', label, '--wait=false')
  const cleared = await waitFor('the volume to be released, and cleared', async () => {
    const { stdout } = await kubectlStratum('doctor', '--forget-node', THERE)
    return stdout.includes('PersistentVolume') && stdout
  })
  assert.match(cleared, /PersistentVolume pvc-/)
  assert.equal(await holderOf(label), undefined)
  await kubectl('delete', 'scm', request, '--timeout=120s')
  await kubectl('delete', 'pvc', volume, '--timeout=120s')
  await kubectl('delete', 'pv', volume, '--timeout=120s')
  await switchOn() // it comes back in spite of that: what it has stays on its disk, and HEAD is not taken again
  await waitFor('the node to tell what it has', async () => {
    const { status } = await get('stratumlabel', label)
    return status.nodes?.some((it: KubeObject) => it.nodeName === THERE)
  })
  assert.equal(await holderOf(label), undefined)
})
