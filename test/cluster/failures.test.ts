import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { crash } from './machine/processes.ts'
import { boot, crashOnNode, onNode, powerOff } from './machine/node.ts'
import { clusterImages, waitForNode } from './machine/start.ts'
import { cluster, nodeNamed } from './support/cluster.ts'
import { containerId, killPlugin, pluginOn, waitForPlugin } from './support/driver.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, type Pod, startPod, waitForPod } from './support/pods.ts'
import { createClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** What crashes cost the pods: nothing that they had synced. */

before(ensureInstalled)

const NODE = cluster.nodes[0].name

/** Writes numbered lines, each synced before the next, and never misses one unless a write fails. */
const WRITER =
  'n=0; while n=$((n + 1)); do echo $n >> /data/log && sync /data/log && echo $n > /tmp/synced || exit 1; sleep 0.02; done'

async function lastLine(pod: Pod): Promise<number> {
  return Number(await pod.sh('tail -n 1 /data/log'))
}

/** The lines are 1, 2, 3 … without a gap. Gives the last. */
async function assertWhole(pod: Pod): Promise<number> {
  const lines = (await pod.sh('cat /data/log')).split('\n').map(Number)
  for (const [index, line] of lines.entries()) assert.equal(line, index + 1)
  return lines.length
}

test('the plugin dies again and again: pods go on writing, and a new pod mounts the same HEAD', async () => {
  const name = await createClaim()
  const writer = await startPod({ node: NODE, command: WRITER, volumes: { '/data': claim(name) } })
  for (let round = 0; round < 2; round++) {
    const before = containerId(await pluginOn(NODE))
    const line = await lastLine(writer)
    await killPlugin(NODE)
    await waitFor('the pod to write on', async () => (await lastLine(writer)) > line + 20)
    await waitForPlugin(NODE, before)
  }
  const second = await startPod({ node: NODE, volumes: { '/data': claim(name) } })
  const seen = await assertWhole(second)
  await waitFor('both pods to see the same file', async () => (await lastLine(second)) > seen)
  await writer.delete()
  await second.delete()
})

test('kubelet, containerd and the API server die while a pod writes', async () => {
  const name = await createClaim()
  const writer = await startPod({ node: NODE, command: WRITER, volumes: { '/data': claim(name) } })
  await crashOnNode(cluster, nodeNamed(NODE), 'kubelet')
  await crashOnNode(cluster, nodeNamed(NODE), 'containerd')
  await crash(cluster, 'kube-apiserver')
  const line = await waitFor('the pod to be reached', () => lastLine(writer))
  await waitFor('the pod to write on', async () => (await lastLine(writer)) > line + 20)
  await assertWhole(writer)
  await writer.delete()
})

test('a node is switched off and on: the pod comes up again with its HEAD and all that it had synced', async () => {
  const name = await createClaim()
  const keepsWriting = `test -e /data/log && mv /data/log /data/log.$(ls /data | wc -l); ${WRITER}`
  const pod = await startPod({
    node: NODE,
    command: keepsWriting,
    volumes: { '/data': claim(name) },
    pod: { restartPolicy: 'Always' },
  })
  const before = await waitFor('the pod to write', async () => {
    const line = await lastLine(pod)
    return line > 20 && line
  })
  await powerOff(cluster, nodeNamed(NODE))
  await boot(cluster, nodeNamed(NODE), clusterImages(cluster))
  await waitForNode(cluster, NODE)
  await waitFor('the pod to write again', async () => (await pod.sh('ls /data')).includes('log.1'))
  await waitForPod(pod.name)
  const lines = (await pod.sh('cat /data/log.1')).split('\n').map(Number)
  for (const [index, line] of lines.entries()) assert.equal(line, index + 1)
  assert.ok(lines.length >= before, `${before} lines had been synced, ${lines.length} are left`)
  await pod.delete()
})

test('nothing stays mounted when the last pod of a volume is gone', async () => {
  const name = await createClaim()
  const pod = await startPod({ node: NODE, volumes: { '/data': claim(name) } })
  const mounts = (): Promise<string> => onNode(cluster, nodeNamed(NODE), 'cat', ['/proc/self/mountinfo'])
  assert.match(await mounts(), new RegExp(name))
  await pod.delete()
  await waitFor('the mounts to be gone', async () => !(await mounts()).includes(name))
})
