import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crashOnNode, onNode, powerOff, boot } from './machine/node.ts'
import { clusterImages, waitForNode } from './machine/start.ts'
import { crash } from './machine/processes.ts'
import { cluster, kubectl } from './support/cluster.ts'
import { startPod, waitForPod } from './support/pods.ts'
import { waitFor } from './support/wait.ts'

/** That the cluster is one, and that what tests do to it works: without this, their results would mean nothing. */

test('pods run on both nodes and can be entered', async () => {
  for (const node of cluster.nodes) {
    const pod = await startPod({ node: node.name })
    assert.equal(await pod.sh('echo hello from $HOSTNAME'), `hello from ${pod.name}`)
    await pod.delete()
  }
})

test('a node that is powered off loses its mounts and processes, and brings its pods back at the next boot', async () => {
  const node = cluster.nodes[0]
  const pod = await startPod({ node: node.name, pod: { restartPolicy: 'Always' } })
  await onNode(cluster, node, 'sh', [
    '-c',
    'mkdir -p /run/gone && mount -t tmpfs none /run/gone && echo kept > /var/lib/kept',
  ])
  await powerOff(cluster, node)
  await boot(cluster, node, clusterImages(cluster))
  await waitForNode(cluster, node.name)
  assert.equal(await onNode(cluster, node, 'cat', ['/var/lib/kept']), 'kept')
  assert.doesNotMatch(await onNode(cluster, node, 'ls', ['/run']), /gone/)
  await waitFor('the pod to be started again', () => pod.sh('true').then(() => true))
  await waitForPod(pod.name)
  await pod.delete()
})

test('kubelet, containerd and the API server come back by themselves after a crash', async () => {
  const node = cluster.nodes[0]
  await crashOnNode(cluster, node, 'kubelet')
  await crashOnNode(cluster, node, 'containerd')
  await crash(cluster, 'kube-apiserver')
  await waitFor('the API server', () => kubectl('get', '--raw', '/readyz'))
  const pod = await startPod({ node: node.name })
  await pod.delete()
})
