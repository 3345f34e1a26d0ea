import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describeCluster, files } from '../machine/layout.ts'
import { startCluster } from '../machine/start.ts'
import { say } from '../programs/cache.ts'
import { CONFORMANCE, programPath } from '../programs/programs.ts'
import { formatOutcome, readReport } from './report.ts'

/**
 * Kubernetes' own storage tests on a cluster of ours: `npm run test:conformance`, with a regular expression to choose among them, and
 * `--slow` for those that take minutes each, too. What they are told about the driver is in driver.yaml.
 */
const [folder, images, driverTag, ...words] = process.argv.slice(2)
const NODES = 2
const PROCESSES = 3
/** Those that restart kubelet need to log in to the node; of the features that are not in every cluster, we have snapshots. */
const ALWAYS_LEFT_OUT = ['!Disruptive', 'Feature: isSubsetOf {VolumeSnapshotDataSource}']
const LEFT_OUT = words.includes('--slow') ? ALWAYS_LEFT_OUT : [...ALWAYS_LEFT_OUT, '!Slow', '!Serial']
const focus = words.find(word => !word.startsWith('--')) ?? ''

const cluster = describeCluster(folder, NODES)
await startCluster(cluster, images.split(','))
Object.assign(process.env, {
  STRATUM_TEST_CLUSTER: folder,
  STRATUM_TEST_CLUSTER_NODES: String(NODES),
  STRATUM_IMAGE_TAG: driverTag,
})
const { ensureInstalled } = await import('../support/install.ts')
const { stratum } = await import('../support/driver.ts')
const { collectEvidence } = await import('../support/evidence.ts')
await ensureInstalled()
await allowEveryStorageClass()
for (const node of cluster.nodes) {
  await stratum(node.name, 'import', '/opt/stratum/proto', '--label', 'library/conformance', '--tag', 'v1')
}
say('the driver is installed')
const reports = path.resolve('conformance')
const report = path.join(reports, 'report.json')
fs.mkdirSync(reports, { recursive: true })
const status = await runGinkgo()
const outcome = formatOutcome(readReport(report))
fs.writeFileSync(path.join(reports, 'outcome.md'), `${outcome}\n`)
if (status !== 0) console.log(await collectEvidence(cluster))
console.log(outcome)
process.exit(status)

function runGinkgo(): Promise<number> {
  const args = [
    `--nodes=${PROCESSES}`,
    '--timeout=3h',
    `--focus=External.Storage.*(${focus})`,
    `--label-filter=${LEFT_OUT.join(' && ')}`,
    '--skip=any volume data source', // wants the images of a volume populator, which cannot be made here
    '--no-color',
    `--output-dir=${reports}`,
    '--json-report=report.json',
    programPath(CONFORMANCE, 'e2e.test'),
    '--',
    `--kubeconfig=${files.kubeconfig(cluster, 'admin')}`,
    '--provider=skeleton',
    `--storage.testdriver=${path.join(import.meta.dirname, 'driver.yaml')}`,
    '--allowed-not-ready-nodes=0',
    '--minStartupPods=0',
  ]
  const child = spawn(programPath(CONFORMANCE, 'ginkgo'), args, { stdio: 'inherit' })
  return new Promise(resolve => child.once('close', code => resolve(code ?? 1)))
}

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
