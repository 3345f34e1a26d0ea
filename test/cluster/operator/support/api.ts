import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { run } from '../../machine/run.ts'
import { files as clusterFiles, describeCluster } from '../../machine/layout.ts'
import { makeAuthority, makeIdentity } from '../../machine/certificates.ts'
import { flags } from '../../machine/run.ts'
import { KUBERNETES, programPath } from '../../programs/programs.ts'
import { waitFor } from '../../support/wait.ts'
import type { ApiServer, InCluster } from '../../../../src/kube/client/api-server.ts'
import { createObject, deleteObject, type KubeObject, type Resource } from '../../../../src/kube/client/objects.ts'
import { callApi } from '../../../../src/kube/client/transport.ts'
import { type Namespace, NAMESPACES, type Node, NODES } from '../../../../src/kube/resources/core.ts'

/** An API server with its etcd and nothing else, with the chart's CRDs, policies and rights, for one test file. */
export interface Api extends AsyncDisposable {
  readonly admin: ApiServer
  readonly folder: string
  readonly port: number
  /** The address of its etcd. */
  readonly etcd: string
  /** As a component of ours in a pod of a node; without a node, the way an old token is. */
  as(component: 'node' | 'controller', nodeName?: string): Promise<InCluster>
  /** As somebody with a token of their own. */
  asUser(user: string): ApiServer
  kubectl(args: readonly string[], input?: string): Promise<string>
  /** Ends the API server, and starts it again. */
  stop(): Promise<void>
  start(): Promise<void>
  createNamespace(name: string): Promise<Namespace>
  createNode(name: string, ready?: boolean): Promise<Node>
}

export const HOME = 'stratum-system'
const TOKENS = ['admin', 'ann', 'eve', 'lib'] as const

export async function startApi({ chart = true }: { chart?: boolean } = {}): Promise<Api> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'api-'))
  const cluster = describeCluster(folder, 0)
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()]
  await makeAuthority(cluster)
  await makeIdentity(cluster, 'server', '/CN=server', 'IP:127.0.0.1,DNS:localhost')
  const etcdUrl = `http://127.0.0.1:${etcdPort}`
  const tokens = path.join(folder, 'tokens.csv')
  fs.writeFileSync(
    tokens,
    TOKENS.map(name => `${name}-token,${name},${name}${name === 'admin' ? ',"system:masters"' : ''}\n`).join(''),
  )
  const etcd = startProgram(folder, 'etcd', {
    'data-dir': path.join(folder, 'etcd'),
    'unsafe-no-fsync': true,
    'log-level': 'warn',
    'listen-client-urls': etcdUrl,
    'advertise-client-urls': etcdUrl,
    'listen-peer-urls': `http://127.0.0.1:${peerPort}`,
    'initial-advertise-peer-urls': `http://127.0.0.1:${peerPort}`,
    'initial-cluster': `default=http://127.0.0.1:${peerPort}`,
  })
  let server: ChildProcess | undefined
  const ca = fs.readFileSync(clusterFiles.certificate(cluster, 'ca'), 'utf8')
  const serverFor = (token: string): ApiServer => ({ address: { host: '127.0.0.1', port }, ca, token: () => token })
  const admin = serverFor('admin-token')
  const api: Api = {
    admin,
    folder,
    port,
    etcd: etcdUrl,
    asUser: user => serverFor(`${user}-token`),
    async as(component, nodeName) {
      const token = await tokenFor(admin, component, nodeName)
      return { server: serverFor(token), namespace: HOME }
    },
    kubectl: (args, input) =>
      run(
        programPath(KUBERNETES, 'kubectl'),
        ['--kubeconfig', `${folder}/kubeconfig`, ...args],
        input === undefined ? {} : { input },
      ),
    async stop() {
      await endProgram(server)
    },
    async start() {
      server = startProgram(folder, 'kube-apiserver', {
        'etcd-servers': etcdUrl,
        'bind-address': '127.0.0.1',
        'advertise-address': '127.0.0.1',
        'endpoint-reconciler-type': 'none',
        'secure-port': String(port),
        'tls-cert-file': clusterFiles.certificate(cluster, 'server'),
        'tls-private-key-file': clusterFiles.key(cluster, 'server'),
        'token-auth-file': tokens,
        'service-cluster-ip-range': '10.96.0.0/16',
        'service-account-issuer': 'https://kubernetes.default.svc',
        'service-account-key-file': clusterFiles.certificate(cluster, 'accounts'),
        'service-account-signing-key-file': clusterFiles.key(cluster, 'accounts'),
        'authorization-mode': 'RBAC',
        // Nobody makes the service accounts that it would look for.
        'disable-admission-plugins': 'ServiceAccount',
        'shutdown-delay-duration': '0s',
      })
      await waitFor('the API server', async () => {
        const answer = await callApi(admin, { method: 'GET', path: '/apis', limitMs: 2000 })
        return answer !== undefined && (await ready(admin))
      })
    },
    createNamespace: name => createObject(admin, NAMESPACES, { metadata: { name } }),
    createNode: (name, isReady = true) =>
      createObject(admin, NODES, {
        metadata: { name },
        status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] },
      }),
    async [Symbol.asyncDispose]() {
      await endProgram(server)
      await endProgram(etcd)
    },
  }
  writeKubeconfig(folder, port, ca)
  await api.start()
  if (chart) await installChart(api)
  return api
}

async function ready(admin: ApiServer): Promise<boolean> {
  await callApi(admin, { method: 'GET', path: '/api/v1/namespaces/kube-system', limitMs: 2000 })
  return true
}

/** What the chart says of CRDs, policies and rights, as `helm template` renders it. */
async function installChart(api: Api): Promise<void> {
  const manifests = await renderChart()
  await api.createNamespace(HOME)
  await api.kubectl(['apply', '--server-side', '-n', HOME, '-f', '-'], manifests)
  await api.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s'])
  for (const component of ['node', 'controller']) {
    const account = {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: `stratum-${component}`, namespace: HOME },
    }
    await api.kubectl(['apply', '-f', '-'], JSON.stringify(account))
  }
}

const CHART = path.resolve(import.meta.dirname, '../../../../charts/stratum')

export function renderChart(): Promise<string> {
  const shown = fs
    .globSync('templates/{crds,policies,rbac}/*.yaml', { cwd: CHART })
    .flatMap(file => ['--show-only', file])
  const args = ['template', 'stratum', CHART, '--namespace', HOME, '--set', 'image.repository=none.invalid/stratum']
  return run(programPath(KUBERNETES, 'helm'), [...args, ...shown])
}

/** A token as kubelet asks for one: bound to a node, whose name it then claims. */
async function tokenFor(admin: ApiServer, component: string, nodeName: string | undefined): Promise<string> {
  const bound = nodeName === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', kind: 'Node', name: nodeName } }
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: ['https://kubernetes.default.svc'], expirationSeconds: 3600, ...bound },
  }
  const request = {
    method: 'POST',
    path: `/api/v1/namespaces/${HOME}/serviceaccounts/stratum-${component}/token`,
    body,
  } as const
  const { status } = (await callApi(admin, request)) as { status: { token: string } }
  return status.token
}

function writeKubeconfig(folder: string, port: number, ca: string): void {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'c',
        cluster: {
          server: `https://127.0.0.1:${port}`,
          'certificate-authority-data': Buffer.from(ca).toString('base64'),
        },
      },
    ],
    users: [{ name: 'admin', user: { token: 'admin-token' } }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'admin' } }],
    'current-context': 'c',
  }
  fs.writeFileSync(`${folder}/kubeconfig`, JSON.stringify(config))
}

function startProgram(folder: string, name: string, values: Readonly<Record<string, string | boolean>>): ChildProcess {
  const log = fs.openSync(`${folder}/${name}.log`, 'a')
  const child = spawn(programPath(KUBERNETES, name), flags(values), { stdio: ['ignore', log, log] })
  fs.closeSync(log)
  process.once('exit', () => child.kill('SIGKILL'))
  return child
}

async function endProgram(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  return port
}

/** A resource that is only used in tests. */
export function resource<T extends KubeObject>(
  group: string,
  version: string,
  kind: string,
  plural: string,
  namespaced = true,
): Resource<T> {
  return { group, version, kind, plural, namespaced }
}

/** Deletes as kubectl does: whatever version the object has by now. */
export function deleteByHand<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  object: KubeObject | undefined,
): Promise<void> {
  const { resourceVersion: _version, ...metadata } = (object as KubeObject).metadata
  return deleteObject(server, resource, { metadata } as T)
}
