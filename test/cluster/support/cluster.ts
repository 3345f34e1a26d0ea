import { randomBytes } from 'node:crypto'
import { SIDECAR_TAG } from '../images/small.ts'
import * as machine from '../machine/kubectl.ts'
import { type Cluster, type ClusterNode, describeCluster } from '../machine/layout.ts'

/** The cluster that the test files run on, one after the other. See ../run.ts. */
export const cluster: Cluster = describeCluster(
  required('STRATUM_TEST_CLUSTER'),
  Number(required('STRATUM_TEST_CLUSTER_NODES')),
)
export const DRIVER_TAG = required('STRATUM_IMAGE_TAG')
export { SIDECAR_TAG }

function required(name: string): string {
  const value = process.env[name]
  if (value === undefined)
    throw new Error(`${name} is not set: run this with "npm run test:cluster -- <word in the path>"`)
  return value
}

export function nodeNamed(name: string): ClusterNode {
  const node = cluster.nodes.find(node => node.name === name)
  if (node === undefined) throw new Error(`there is no node ${name}`)
  return node
}

/** An object of Kubernetes as it is written and read; nothing about its fields is known. */
// oxlint-disable-next-line typescript/no-explicit-any
export type KubeObject = Record<string, any>

export function kubectl(...args: string[]): Promise<string> {
  return machine.kubectl(cluster, args)
}

export async function get(kind: string, name: string, namespace = 'default'): Promise<KubeObject> {
  return JSON.parse(await kubectl('get', kind, name, '--namespace', namespace, '-o', 'json'))
}

export async function list(kind: string, ...args: string[]): Promise<KubeObject[]> {
  return JSON.parse(await kubectl('get', kind, '-o', 'json', ...args)).items
}

export async function apply(...objects: KubeObject[]): Promise<void> {
  const items = { apiVersion: 'v1', kind: 'List', items: objects }
  await machine.kubectl(cluster, ['apply', '-f', '-'], JSON.stringify(items))
}

export async function remove(kind: string, name: string, namespace = 'default'): Promise<void> {
  await kubectl('delete', kind, name, '--namespace', namespace, '--ignore-not-found', '--timeout=120s')
}

/** A name that no other test has. */
export function unique(prefix: string): string {
  return `${prefix}-${randomBytes(3).toString('hex')}`
}
