import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describeCluster, files } from '../machine/layout.ts'
import { startCluster } from '../machine/start.ts'
import { CONFORMANCE, programPath } from '../programs/programs.ts'
import { say } from '../programs/cache.ts'

/** Kubernetes' own storage tests on a cluster of ours: `npm run test:conformance`. What they are told is in driver.yaml. */
const [folder, images, driverTag, focus = 'External.Storage'] = process.argv.slice(2)
const NODES = 2
/** Tests that want other features of Kubernetes switched on, or hours. Snapshots are a feature, too, and stay. */
const SKIP = String.raw`\[Disruptive\]|\[Slow\]|\[Serial\]|\[Feature:([^V]|V[^o]|VolumeA|VolumeG|VolumeSourceXFS)`

const cluster = describeCluster(folder, NODES)
await startCluster(cluster, images.split(','))
Object.assign(process.env, {
  STRATUM_TEST_CLUSTER: folder,
  STRATUM_TEST_CLUSTER_NODES: String(NODES),
  STRATUM_IMAGE_TAG: driverTag,
})
const { ensureInstalled } = await import('../support/install.ts')
const { stratum } = await import('../support/driver.ts')
await ensureInstalled()
await allowEveryStorageClass()
for (const node of cluster.nodes) {
  await stratum(node.name, 'import', '/opt/stratum/proto', '--label', 'library/conformance', '--tag', 'v1')
}
say('the driver is installed')
const kubeconfig = files.kubeconfig(cluster, 'admin')
const reports = path.resolve('conformance')
fs.mkdirSync(reports, { recursive: true })
const child = spawn(
  programPath(CONFORMANCE, 'ginkgo'),
  [
    '--nodes=3',
    '--timeout=3h',
    `--focus=${focus}`,
    `--skip=${SKIP}`,
    '--no-color',
    `--output-dir=${reports}`,
    '--json-report=report.json',
    programPath(CONFORMANCE, 'e2e.test'),
    '--',
    `--kubeconfig=${kubeconfig}`,
    '--provider=skeleton',
    `--storage.testdriver=${path.join(import.meta.dirname, 'driver.yaml')}`,
    '--allowed-not-ready-nodes=0',
    '--minStartupPods=0',
  ],
  { stdio: 'inherit' },
)
const status = await new Promise<number>(resolve => child.once('close', code => resolve(code ?? 1)))
process.exit(status)

/** The tests make StorageClasses of their own; the chart's policies let nodes provision for those alone that an administrator names. */
async function allowEveryStorageClass(): Promise<void> {
  const { apply } = await import('../support/cluster.ts')
  const { NAMESPACE } = await import('../support/install.ts')
  const metadata = { name: 'conformance-storage-classes' }
  const api = 'rbac.authorization.k8s.io'
  const rules = [{ apiGroups: ['stratum.dev'], resources: ['storageclasses'], verbs: ['provision'] }]
  const roleRef = { apiGroup: api, kind: 'ClusterRole', name: metadata.name }
  const subjects = [{ kind: 'ServiceAccount', name: 'stratum-node', namespace: NAMESPACE }]
  await apply(
    { apiVersion: `${api}/v1`, kind: 'ClusterRole', metadata, rules },
    { apiVersion: `${api}/v1`, kind: 'ClusterRoleBinding', metadata, roleRef, subjects },
  )
}
