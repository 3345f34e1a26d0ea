import { onNode } from '../machine/node.ts'
import { cluster, type KubeObject, kubectl, list, nodeNamed } from './cluster.ts'
import { NAMESPACE } from './install.ts'
import { waitFor } from './wait.ts'

/** The driver's own pods: the plugin of a node, its command line, and its death. */

export async function pluginOn(node: string): Promise<KubeObject> {
  const selector = ['--namespace', NAMESPACE, '--selector', 'app.kubernetes.io/component=node']
  const pods = await list('pods', ...selector, '--field-selector', `spec.nodeName=${node}`)
  const pod = pods.find(pod => pod.metadata.deletionTimestamp === undefined)
  if (pod === undefined) throw new Error(`no plugin on ${node}`)
  return pod
}

/** Runs `stratum …` where the node's store is. */
export async function stratum(node: string, ...args: string[]): Promise<string> {
  const { metadata } = await pluginOn(node)
  return kubectl('exec', metadata.name, '--namespace', NAMESPACE, '--container', 'stratum', '--', 'stratum', ...args)
}

/** Kills all processes of the plugin's container as a crash would, not those of its sidecars; kubelet starts it again. */
export async function killPlugin(node: string): Promise<void> {
  const container = containerId(await pluginOn(node))
  const kill = `kill -9 $(grep -l ${container} /proc/[0-9]*/cgroup | cut -d/ -f3)`
  await onNode(cluster, nodeNamed(node), 'sh', ['-c', kill])
}

/** Waits until the plugin is ready in another container than `before`, if given. */
export async function waitForPlugin(node: string, before?: string): Promise<void> {
  await waitFor(`the plugin of ${node} to be ready`, async () => {
    const pod = await pluginOn(node)
    const status = pod.status.containerStatuses.find((it: KubeObject) => it.name === 'stratum')
    return status.ready && containerId(pod) !== before
  })
}

export function containerId(plugin: KubeObject): string {
  const status = plugin.status.containerStatuses.find((it: KubeObject) => it.name === 'stratum')
  return String(status.containerID).replace('containerd://', '')
}
