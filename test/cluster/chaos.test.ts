import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { crash } from './machine/processes.ts'
import { crashOnNode } from './machine/node.ts'
import { apply, cluster, get, kubectl, nodeNamed, unique } from './support/cluster.ts'
import { askForCommit, waitForCommit } from './support/commits.ts'
import { killPlugin, stratum, waitForPlugin } from './support/driver.ts'
import { ensureInstalled, NAMESPACE } from './support/install.ts'
import { claim, type Pod, startPod } from './support/pods.ts'
import { createClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** Exactly once: everything dies at random while commits and snapshots are under way and a pod writes. */

before(ensureInstalled)

const NODE = cluster.nodes[0].name
const REQUESTS = Number(process.env.STRATUM_CHAOS_REQUESTS ?? 60)
const WRITER =
  'n=0; while n=$((n + 1)); do echo $n >> /data/log && sync /data/log && echo $n > /tmp/synced || exit 1; sleep 0.05; done'

/** Each is a crash of something that has a part in a commit. */
const CRASHES: (() => Promise<unknown>)[] = [
  () => killPlugin(NODE),
  () => crashOnNode(cluster, nodeNamed(NODE), 'kubelet'),
  () => crashOnNode(cluster, nodeNamed(NODE), 'containerd'),
  () => crash(cluster, 'kube-apiserver'),
  () =>
    kubectl(
      'delete',
      'pod',
      '--namespace',
      NAMESPACE,
      '--selector',
      'app.kubernetes.io/component=controller',
      '--force',
      '--grace-period=0',
    ),
]

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
  const snapshots: string[] = []
  let line = 0
  for (let index = 0; index < REQUESTS; index++) {
    line = await syncedLine(writer).catch(() => line)
    if (index % 3 === 2) snapshots.push(await persist(() => askForSnapshot(label)))
    else {
      const tag = `t${index}`
      commits.set(await persist(() => askForCommit({ label, tags: [{ name: tag }], deadlineSeconds: 900 })), {
        tag,
        line,
      })
    }
    // The crashes come between requests and, because nobody waits for the requests, in the middle of them.
    if (index % 6 === 5) await CRASHES[((index / 6) | 0) % CRASHES.length]().catch(() => undefined)
    await sleep(200)
  }
  await waitForPlugin(NODE)
  for (const [name, asked] of commits) {
    await waitForCommit(name)
    await assertHolds(label, asked)
  }
  for (const name of snapshots) {
    await waitFor(`snapshot ${name}`, async () => (await get('volumesnapshot', name)).status?.readyToUse === true)
  }
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
  await kubectl('delete', 'volumesnapshot', ...snapshots, '--timeout=180s')
  await kubectl('delete', 'pvc', label, '--timeout=180s')
})

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
