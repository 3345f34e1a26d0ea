import path from 'node:path'
import { execa } from 'execa'
import { files } from '../machine/layout.ts'
import { onNode } from '../machine/node.ts'
import { KUBERNETES, programPath } from '../programs/programs.ts'
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

const BIN = path.resolve(import.meta.dirname, '../../../bin')

/** Runs `kubectl stratum …` as an administrator does at their desk. */
export async function kubectlStratum(
  ...args: string[]
): Promise<{ status: number | undefined; stdout: string; stderr: string }> {
  const program = programPath(KUBERNETES, 'kubectl')
  const { exitCode, stdout, stderr } = await execa(program, ['stratum', ...args], {
    reject: false,
    input: '',
    env: {
      PATH: `${BIN}:${path.dirname(program)}:${process.env.PATH}`,
      KUBECONFIG: files.kubeconfig(cluster, 'admin'),
      STRATUM_KUBECTL: program,
    },
  })
  return { status: exitCode, stdout, stderr }
}

/** Kills all processes of the plugin's container as a crash would, not those of its sidecars; kubelet starts it again. */
export async function killPlugin(node: string): Promise<void> {
  await killContainer(node, containerId(await pluginOn(node)))
}

/** Kills the processes of every controller that runs; kubelet starts them again. */
export async function killController(): Promise<void> {
  const pods = await list('pods', '--namespace', NAMESPACE, '--selector', 'app.kubernetes.io/component=controller')
  for (const pod of pods) await killContainer(pod.spec.nodeName, containerId(pod))
}

async function killContainer(node: string, container: string): Promise<void> {
  const kill = `kill -9 $(grep -l ${container} /proc/[0-9]*/cgroup | cut -d/ -f3)`
  await onNode(cluster, nodeNamed(node), 'sh', ['-c', kill])
}

/** What the program of a pod of ours takes, without tini and without what it started. */
export async function memoryOf(pod: KubeObject): Promise<{ residentMiB: number; privateMiB: number }> {
  const find = `for f in $(grep -l ${containerId(pod)} /proc/[0-9]*/cgroup); do p=\${f%/cgroup}; grep -q MainThread $p/comm && cat $p/smaps_rollup; done`
  const text = await onNode(cluster, nodeNamed(pod.spec.nodeName), 'sh', ['-c', find])
  const sum = (name: RegExp): number => [...text.matchAll(name)].reduce((all, [, kib]) => all + Number(kib), 0)
  const mib = (kib: number): number => Math.round(kib / 1024)
  return { residentMiB: mib(sum(/^Rss:\s+(\d+)/gm)), privateMiB: mib(sum(/^Private_\w+:\s+(\d+)/gm)) }
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
