import fs from 'node:fs'
import path from 'node:path'
import { waitFor } from '../support/wait.ts'
import { startControlPlane } from './control-plane.ts'
import { kubectl } from './kubectl.ts'
import { type Cluster, files } from './layout.ts'
import { OUTSIDE } from './enter.ts'
import { run } from './run.ts'
import { boot, installNode } from './node.ts'
import { records } from './processes.ts'

/** Starts a cluster in the namespaces that the caller is in (see enter.ts) and waits until pods can be made. */
export async function startCluster(cluster: Cluster, images: readonly string[]): Promise<void> {
  if (process.env[OUTSIDE] === undefined || process.env[OUTSIDE] === fs.readlinkSync('/proc/self/ns/mnt')) {
    throw new Error('a cluster is started in namespaces of its own only: see enter.ts')
  }
  await run('mount', ['-t', 'tmpfs', 'tmpfs', '/run']) // the names of its network namespaces are there
  for (const folder of ['log', 'run']) fs.mkdirSync(path.join(cluster.folder, folder), { recursive: true })
  fs.writeFileSync(path.join(cluster.folder, 'images'), images.join('\n'))
  await startControlPlane(cluster)
  for (const node of cluster.nodes) await installNode(cluster, node)
  for (const node of cluster.nodes) await boot(cluster, node, images)
  for (const node of cluster.nodes) await waitForNode(cluster, node.name)
  await waitFor('the service account of new pods', () => kubectl(cluster, ['get', 'serviceaccount', 'default']))
}

export async function waitForNode(cluster: Cluster, name: string): Promise<void> {
  await waitFor(
    `${name} to be ready`,
    async () => {
      const booted = fs.existsSync(path.join(records(cluster), `${name}.booted`))
      return booted && (await kubectl(cluster, ['wait', '--for=condition=Ready', `node/${name}`, '--timeout=5s']))
    },
    { explain: () => fs.readFileSync(files.log(cluster, 'start'), 'utf8').slice(-2000) },
  )
}

/** The images that nodes load, as the cluster was started with. */
export function clusterImages(cluster: Cluster): string[] {
  return fs.readFileSync(path.join(cluster.folder, 'images'), 'utf8').split('\n')
}
