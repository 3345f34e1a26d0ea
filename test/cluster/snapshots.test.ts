import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { apply, cluster, get, kubectl, unique } from './support/cluster.ts'
import { ensureInstalled } from './support/install.ts'
import { stratum } from './support/driver.ts'
import { claim, createPod, type Pod, startPod, waitForPod } from './support/pods.ts'
import { type ClaimSpec, createClaim, nodeOfClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** VolumeSnapshots, restores and clones through the sidecars, as every CSI driver has them. */

before(ensureInstalled)

const SNAPSHOT_API = 'snapshot.storage.k8s.io'
const [OTHER_NODE, SOURCE_NODE] = cluster.nodes.map(node => node.name)

/** Makes a VolumeSnapshot of a claim and waits until it can be used. */
async function snapshot(source: string): Promise<string> {
  const name = unique('snapshot')
  await apply({
    apiVersion: `${SNAPSHOT_API}/v1`,
    kind: 'VolumeSnapshot',
    metadata: { name, namespace: 'default' },
    spec: { volumeSnapshotClassName: 'stratum', source: { persistentVolumeClaimName: source } },
  })
  await waitFor(
    `snapshot ${name} to be ready`,
    async () => (await get('volumesnapshot', name)).status?.readyToUse === true,
    { explain: () => kubectl('describe', 'volumesnapshot,volumesnapshotcontent') },
  )
  return name
}

test('a snapshot holds what had been synced, while the pod goes on writing', async () => {
  const source = await createClaim()
  const pod = await startPod({ node: SOURCE_NODE, volumes: { '/data': claim(source) } })
  await pod.sh('echo before > /data/file && sync')
  const taken = await snapshot(source)
  await pod.sh('echo after > /data/file && sync')
  const restored = await createClaim({ dataSource: { apiGroup: SNAPSHOT_API, kind: 'VolumeSnapshot', name: taken } })
  const reader = await startPod({ node: SOURCE_NODE, volumes: { '/data': claim(restored) } })
  assert.equal(await reader.sh('cat /data/file'), 'before')
  assert.equal(await pod.sh('cat /data/file'), 'after')
  await reader.sh('echo mine > /data/file')
  assert.equal(await pod.sh('cat /data/file'), 'after', 'the restored volume is a volume of its own')
  for (const each of [pod, reader]) await each.delete()
  await kubectl('delete', 'volumesnapshot', taken, '--timeout=120s')
  await kubectl('delete', 'pvc', restored, source, '--timeout=120s')
})

test('a clone has the content of its source, whose pod goes on', async () => {
  const source = await createClaim()
  const pod = await startPod({ node: SOURCE_NODE, volumes: { '/data': claim(source) } })
  await pod.sh('mkdir /data/folder && echo original > /data/folder/file && sync')
  const copy = await createClaim({ dataSource: { kind: 'PersistentVolumeClaim', name: source } })
  const reader = await startPod({ node: SOURCE_NODE, volumes: { '/data': claim(copy) } })
  assert.equal(await reader.sh('cat /data/folder/file'), 'original')
  await reader.sh('echo changed > /data/folder/file')
  assert.equal(await pod.sh('cat /data/folder/file'), 'original')
  for (const each of [pod, reader]) await each.delete()
  await kubectl('delete', 'pvc', copy, source, '--timeout=120s')
})

interface Source {
  readonly source: string
  readonly pod: Pod
  readonly taken: string
  readonly origins: readonly Partial<ClaimSpec>[]
}

/** A claim whose volume is on SOURCE_NODE, and the three ways to begin another with what it has. */
async function makeSource(): Promise<Source> {
  const source = await createClaim()
  const pod = await startPod({ node: SOURCE_NODE, volumes: { '/data': claim(source) } })
  await pod.sh('echo here > /data/file && sync')
  const taken = await snapshot(source)
  await stratum(SOURCE_NODE, 'commit', `default/${source}:v1`)
  await waitFor('the tag to be known', async () => {
    const { status } = await get('stratumlabel', source)
    return status?.tags?.some(({ name }: { name: string }) => name === 'v1')
  })
  const origins: Partial<ClaimSpec>[] = [
    { dataSource: { apiGroup: SNAPSHOT_API, kind: 'VolumeSnapshot', name: taken } },
    { dataSource: { kind: 'PersistentVolumeClaim', name: source } },
    { annotations: { 'stratum.dev/from': `${source}:v1` } },
  ]
  return { source, pod, taken, origins }
}

/** Claims of these origins with pods that may run anywhere: they land on SOURCE_NODE, with what the source had, and are removed with it. */
async function landAndRemove({ source, pod, taken }: Source, origins: readonly Partial<ClaimSpec>[]): Promise<void> {
  const claims = await Promise.all(origins.map(origin => createClaim(origin)))
  const readers = await Promise.all(claims.map(name => createPod({ volumes: { '/data': claim(name) } })))
  for (const [index, reader] of readers.entries()) {
    await waitForPod(reader.name)
    assert.equal(await nodeOfClaim(claims[index]), SOURCE_NODE, JSON.stringify(origins[index]))
    assert.equal(await reader.sh('cat /data/file'), 'here')
  }
  for (const each of [pod, ...readers]) await each.delete()
  await kubectl('delete', 'volumesnapshot', taken, '--timeout=120s')
  await kubectl('delete', 'pvc', ...claims, source, '--timeout=180s')
}

test('pods that may run anywhere land where the source of their volume is: restored, cloned, begun with a tag', async () => {
  const source = await makeSource()
  // By chance alone, all nine would land there once in 512 times.
  await landAndRemove(source, [...source.origins, ...source.origins, ...source.origins])
})

test('so do those for which the scheduler was faster than the controller, and chose another node', async () => {
  const source = await makeSource()
  const elsewhere = { 'volume.kubernetes.io/selected-node': OTHER_NODE }
  await landAndRemove(
    source,
    source.origins.map(origin => ({ ...origin, annotations: { ...origin.annotations, ...elsewhere } })),
  )
})
