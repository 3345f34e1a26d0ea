import fs from 'node:fs'
import path from 'node:path'
import { KUBERNETES, programPath } from '../programs/programs.ts'
import { waitFor } from '../support/wait.ts'
import { makeIdentity } from './certificates.ts'
import { makeControlGroup, removeControlGroups, thawControlGroups } from './control-groups.ts'
import { BRIDGE } from './control-plane.ts'
import { type Cluster, type ClusterNode, CONTROL_PLANE_ADDRESS, files } from './layout.ts'
import { containerdConfig, kubeletConfig, podNetworkConfig } from './node-config.ts'
import { environment, records, startInBackground } from './processes.ts'
import { run } from './run.ts'

/** With these, all of a node ends with its first process: tini, so that nobody who lost its parent stays a zombie. */
const NAMESPACES = ['--mount', '--pid', '--uts', '--fork', '--kill-child', '--mount-proc', '--propagation=private']

/** Writes what a new node has on its disk. `images` (tar files) are loaded at its first boot. */
export async function installNode(cluster: Cluster, node: ClusterNode): Promise<void> {
  fs.mkdirSync(path.join(node.folder, 'cni'), { recursive: true })
  await makeIdentity(
    cluster,
    node.name,
    `/O=system:nodes/CN=system:node:${node.name}`,
    `DNS:${node.name},IP:${node.address}`,
  )
  fs.writeFileSync(path.join(node.folder, 'containerd.toml'), containerdConfig(node))
  fs.writeFileSync(path.join(node.folder, 'cni', '10-pods.conflist'), podNetworkConfig(node))
  fs.writeFileSync(path.join(node.folder, 'kubelet.json'), kubeletConfig(cluster, node))
}

/** Switches a node on; kubelet starts as soon as containerd has the images. */
export async function boot(cluster: Cluster, node: ClusterNode, images: readonly string[]): Promise<void> {
  await plugIn(node)
  makeControlGroup(node.controlGroup)
  const enter = [`--net=/run/netns/${node.name}`, 'unshare', ...NAMESPACES]
  const pid = startInBackground(
    'nsenter',
    [...enter, 'tini', '--', 'sh', path.join(import.meta.dirname, 'boot-node.sh')],
    {
      ...environment(cluster),
      NODE: node.name,
      ADDRESS: node.address,
      FOLDER: node.folder,
      CLUSTER_MOUNTS: fs.readlinkSync('/proc/self/ns/mnt'),
      IMAGES: images.join(' '),
      KUBELET: programPath(KUBERNETES, 'kubelet'),
      KUBECONFIG: files.kubeconfig(cluster, node.name),
    },
  )
  fs.writeFileSync(files.processId(records(cluster), node.name), String(pid))
}

/** A network namespace for the node, with one cable to the bridge. */
async function plugIn(node: ClusterNode): Promise<void> {
  const ip = (...args: string[]): Promise<string> => run('ip', args)
  const inside = (...args: string[]): Promise<string> => run('ip', ['-n', node.name, ...args])
  await ip('netns', 'add', node.name)
  await ip('link', 'add', node.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', node.name)
  await ip('link', 'set', node.name, 'master', BRIDGE, 'up')
  await ip('route', 'replace', node.podNetwork, 'via', node.address)
  await inside('link', 'set', 'lo', 'up')
  await inside('address', 'add', `${node.address}/24`, 'dev', 'eth0')
  await inside('link', 'set', 'eth0', 'up')
  await inside('route', 'add', 'default', 'via', CONTROL_PLANE_ADDRESS)
  await run('nsenter', [`--net=/run/netns/${node.name}`, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward'])
}

/**
 * Pulls the plug: all processes of the node die at once, its mounts, its /run, its control groups and its network are gone. Its disk stays. (With
 * groups of containers that there are no more, the next kubelet starts no pod for a minute: it asks containerd for each until it gives up.)
 */
export async function powerOff(cluster: Cluster, node: ClusterNode): Promise<void> {
  const pidFile = files.processId(records(cluster), node.name)
  const first = firstProcess(cluster, node)
  thawControlGroups(node.controlGroup)
  process.kill(first, 'SIGKILL')
  await waitFor(`${node.name} to be off`, () => {
    thawControlGroups(node.controlGroup) // somebody may have frozen a pod in between
    return !fs.existsSync(`/proc/${first}`) && removeControlGroups(node.controlGroup) === 0
  })
  for (const file of [pidFile, path.join(records(cluster), `${node.name}.booted`)]) fs.rmSync(file, { force: true })
  // A container's process may hold the network namespace a moment longer than the name.
  await run('ip', ['link', 'delete', node.name]).catch(() => undefined)
  await run('ip', ['netns', 'delete', node.name])
}

/** The process id, as seen in the cluster's namespace, of the first process of a node. */
export function firstProcess(cluster: Cluster, node: ClusterNode): number {
  const pid = fs.readFileSync(files.processId(records(cluster), node.name), 'utf8')
  const child = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  if (child === '') throw new Error(`${node.name} is off`)
  return Number(child)
}

/** Runs a program on a node, as if somebody had logged in there. */
export function onNode(cluster: Cluster, node: ClusterNode, program: string, args: readonly string[]): Promise<string> {
  const target = String(firstProcess(cluster, node))
  return run('nsenter', ['--target', target, '--mount', '--pid', '--net', '--uts', program, ...args])
}

/** Kills kubelet or containerd of a node as a crash would; it comes back by itself. */
export async function crashOnNode(cluster: Cluster, node: ClusterNode, name: 'kubelet' | 'containerd'): Promise<void> {
  const pid = fs.readFileSync(files.processId(records(cluster), `${node.name}-${name}`), 'utf8').trim()
  await onNode(cluster, node, 'kill', ['-9', pid])
}
