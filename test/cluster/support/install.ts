import fs from 'node:fs'
import path from 'node:path'
import { DRIVER_REPOSITORY } from '../images/driver.ts'
import { sidecarImage } from '../images/small.ts'
import { files } from '../machine/layout.ts'
import { run } from '../machine/run.ts'
import { KUBERNETES, programPath, SIDECARS } from '../programs/programs.ts'
import { apply, cluster, DRIVER_TAG, type KubeObject, kubectl } from './cluster.ts'

export const NAMESPACE = 'stratum-system'
export const RELEASE = 'stratum'
/** A chart and the tag of the image that it runs. */
export interface Release {
  readonly chart: string
  readonly tag: string
}

export const CURRENT: Release = {
  chart: path.resolve(import.meta.dirname, '../../../charts/stratum'),
  tag: DRIVER_TAG,
}
const { STRATUM_CHART_BEFORE, STRATUM_IMAGE_TAG_BEFORE } = process.env
/** Of the commit before, where it is to be had: see ../images/before.ts. */
export const BEFORE: Release | undefined =
  STRATUM_CHART_BEFORE === undefined || STRATUM_IMAGE_TAG_BEFORE === undefined
    ? undefined
    : { chart: STRATUM_CHART_BEFORE, tag: STRATUM_IMAGE_TAG_BEFORE }

/** The values of the tests: images that the nodes have, and a boot id that changes when a node of ours is switched off and on. */
const [provisioner, snapshotter] = ['csi-provisioner', 'csi-snapshotter'].map(name => {
  const [repository, tag] = sidecarImage(name).split(':')
  return { image: { repository, tag } }
})
function valuesFor(tag: string): object {
  return {
    image: { repository: DRIVER_REPOSITORY, tag },
    node: { env: [{ name: 'STRATUM_BOOT_ID', value: '/run/stratum/boot-id' }] },
    provisioner,
    snapshotter,
  }
}

export function helm(...args: string[]): Promise<string> {
  const settings = { KUBECONFIG: files.kubeconfig(cluster, 'admin'), HOME: cluster.folder }
  return run(programPath(KUBERNETES, 'helm'), ['--namespace', NAMESPACE, ...args], { env: settings })
}

/** Installs or upgrades the release and waits until all its pods are ready. `more` are arguments for Helm, such as `--set …`. */
export async function installChart(
  verb: 'install' | 'upgrade',
  { chart, tag }: Release,
  ...more: string[]
): Promise<string> {
  const values = path.join(cluster.folder, 'values.json')
  fs.writeFileSync(values, JSON.stringify(valuesFor(tag)))
  const place = verb === 'install' ? ['--create-namespace'] : []
  return helm(verb, RELEASE, chart, ...place, '--values', values, '--wait', '--timeout', '5m', ...more)
}

/** What the tests of volumes start with: the snapshot-controller and the chart, unless an earlier file has left them there. */
export async function ensureInstalled(): Promise<void> {
  await ensureSnapshotController()
  const releases = await helm('list', '--output', 'json')
  if (!JSON.parse(releases).some((it: { name: string }) => it.name === RELEASE)) await installChart('install', CURRENT)
}

/** The cluster's snapshot-controller, which is no part of the chart. It gets every right: whether it needs them is not what is tested. */
export async function ensureSnapshotController(): Promise<void> {
  const definitions = programPath(SIDECARS, 'snapshot-definitions')
  await kubectl('apply', '--server-side', '--kustomize', definitions)
  const name = 'snapshot-controller'
  const metadata = { name, namespace: 'kube-system' }
  await apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', ...metadata }],
    },
    snapshotController(metadata),
  )
  await kubectl('rollout', 'status', `deployment/${name}`, '--namespace', 'kube-system', '--timeout=180s')
}

function snapshotController(metadata: KubeObject): KubeObject {
  const labels = { app: metadata.name }
  const container = {
    name: 'main',
    image: sidecarImage('snapshot-controller'),
    imagePullPolicy: 'Never',
    args: ['--enable-distributed-snapshotting', '--leader-election=false'],
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { serviceAccountName: metadata.name, containers: [container] },
      },
    },
  }
}
