import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../support/random.ts'
import { firstSeed } from '../support/scale.ts'
import { crash } from './machine/processes.ts'
import { crashOnNode, onNode } from './machine/node.ts'
import { apply, cluster, get, kubectl, list, nodeNamed, unique } from './support/cluster.ts'
import { askForCommit, waitForCommit } from './support/commits.ts'
import { killController, killPlugin, stratum, waitForPlugin } from './support/driver.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, type Pod, startPod } from './support/pods.ts'
import { createClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** Exactly once: everything dies at random while commits and snapshots are under way and a pod writes. */

before(ensureInstalled)

const NODE = cluster.nodes[0].name
const REQUESTS = Number(process.env.STRATUM_CHAOS_REQUESTS ?? 60)
const WRITER =
  'n=0; while n=$((n + 1)); do echo $n >> /data/log && sync /data/log && echo $n > /tmp/synced || exit 1; sleep 0.05; done'

/** Each is a crash, by SIGKILL, of something that has a part in a commit. */
const CRASHES: Record<string, () => Promise<unknown>> = {
  plugin: () => killPlugin(NODE),
  controller: () => killController(),
  kubelet: () => crashOnNode(cluster, nodeNamed(NODE), 'kubelet'),
  containerd: () => crashOnNode(cluster, nodeNamed(NODE), 'containerd'),
  'API server': () => crash(cluster, 'kube-apiserver'),
}
const random = createRandom(firstSeed())

interface Asked {
  readonly tag: string
  /** What the pod had synced before it was asked for. */
  readonly line: number
}

interface LogEntry {
  readonly actor: string
  readonly operation: string
}

test(`${REQUESTS} commits and snapshots under way while everything dies: each happens once, and no line is lost`, async () => {
  const label = await createClaim({ name: unique('chaos') })
  const writer = await startPod({ node: NODE, command: WRITER, volumes: { '/data': claim(label) } })
  await waitFor('the pod to write', () => writer.sh('test -s /tmp/synced').then(() => true))
  const commits = new Map<string, Asked>()
  const snapshots = new Map<string, number>()
  const crashed: string[] = []
  let line = 0
  for (let index = 0; index < REQUESTS; index++) {
    line = await syncedLine(writer).catch(() => line)
    if (index % 3 === 2) snapshots.set(await persist(() => askForSnapshot(label)), line)
    else {
      const tag = `t${index}`
      commits.set(await persist(() => askForCommit({ label, tags: [{ name: tag }], deadlineSeconds: 900 })), {
        tag,
        line,
      })
    }
    // Nobody waits for the requests, so the crashes come in the middle of them.
    if (random.chance(1 / 5)) {
      const victim = random.pick(Object.keys(CRASHES))
      await CRASHES[victim]().then(
        () => crashed.push(victim),
        () => undefined, // it is dead already, or cannot be reached just now
      )
    }
    await sleep(random.below(400))
  }
  console.log(`killed: ${crashed.join(', ')}`)
  assert.ok(crashed.length >= REQUESTS / 15, `only ${crashed.length} were killed`)
  await waitForPlugin(NODE)
  for (const [name, asked] of commits) {
    await waitForCommit(name)
    await assertHolds(label, asked)
  }
  const handles = new Set<string>()
  for (const [name, synced] of snapshots) {
    const tag = await handleOf(name)
    handles.add(tag)
    await assertHolds(label, { tag, line: synced })
  }
  assert.equal(handles.size, snapshots.size, 'each snapshot has a commit and a tag of its own')
  const printed = await stratum(NODE, 'log', `default/${label}`, '--json')
  const log = printed
    .trim()
    .split('\n')
    .map(text => JSON.parse(text) as LogEntry)
  assert.ok(log.some(entry => entry.operation === 'commit'))
  for (const name of commits.keys()) {
    const made = log.filter(entry => entry.actor === `stratumcommit/default/${name}` && entry.operation === 'commit')
    assert.ok(made.length <= 1, `${name} made ${made.length} commits`)
  }
  await assertWhole(writer)
  await writer.delete()
  await kubectl('delete', 'volumesnapshot', ...snapshots.keys(), '--timeout=300s')
  await kubectl('delete', 'scm', ...commits.keys(), '--timeout=180s')
  const { spec } = await get('pvc', label)
  await kubectl('delete', 'pvc', label, '--timeout=180s')
  await waitFor(
    'the volume to go',
    async () => (await kubectl('get', 'pv', '-o', 'name')).includes(spec.volumeName) === false,
  )
  await assertNothingLeft(label)
})

/** The tag of a VolumeSnapshot, once it is ready. */
async function handleOf(name: string): Promise<string> {
  const content = await waitFor(`snapshot ${name}`, async () => {
    const { status } = await get('volumesnapshot', name)
    return status?.readyToUse === true && String(status.boundVolumeSnapshotContentName)
  })
  return String((await get('volumesnapshotcontent', content)).status.snapshotHandle)
}

async function assertNothingLeft(label: string): Promise<void> {
  const contents = await list('volumesnapshotcontents')
  assert.deepEqual(
    contents.filter(({ status }) => status?.readyToUse !== true),
    [],
  )
  const pods = await list('pods', '--all-namespaces')
  assert.deepEqual(
    pods.filter(({ metadata }) => metadata.deletionTimestamp !== undefined).map(({ metadata }) => metadata.name),
    [],
    'stuck Terminating',
  )
  const mounts = await onNode(cluster, nodeNamed(NODE), 'cat', ['/proc/self/mountinfo'])
  assert.doesNotMatch(mounts, new RegExp(label), 'a mount is left')
}

/** Again and again: the API server may be away just now. */
function persist<T>(ask: () => Promise<T>): Promise<T> {
  return waitFor('the API server', () => ask().catch(() => undefined))
}

async function askForSnapshot(claimName: string): Promise<string> {
  const name = unique('chaos')
  await apply({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name, namespace: 'default' },
    spec: { volumeSnapshotClassName: 'stratum', source: { persistentVolumeClaimName: claimName } },
  })
  return name
}

async function syncedLine(pod: Pod): Promise<number> {
  return Number(await pod.sh('cat /tmp/synced'))
}

/** The tag has every line that was synced before it was asked for, and none is missing in the middle. */
async function assertHolds(label: string, { tag, line }: Asked): Promise<void> {
  const lines = (await stratum(NODE, 'cat', `default/${label}:${tag}`, 'log')).trim().split('\n').map(Number)
  for (const [index, each] of lines.entries()) assert.equal(each, index + 1, `tag ${tag}`)
  assert.ok(lines.length >= line, `tag ${tag} has ${lines.length} lines, ${line} had been synced`)
}

async function assertWhole(pod: Pod): Promise<void> {
  const lines = (await pod.sh('cat /data/log')).split('\n').map(Number)
  for (const [index, each] of lines.entries()) assert.equal(each, index + 1)
}
