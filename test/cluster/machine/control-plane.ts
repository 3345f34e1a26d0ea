import fs from 'node:fs'
import path from 'node:path'
import { KUBERNETES, programPath } from '../programs/programs.ts'
import { waitFor } from '../support/wait.ts'
import { makeAuthority, makeIdentity } from './certificates.ts'
import { kubectl } from './kubectl.ts'
import { type Cluster, CONTROL_PLANE_ADDRESS, files, SERVICE_ADDRESS } from './layout.ts'
import { keepRunning } from './processes.ts'
import { flags, run } from './run.ts'

const ETCD = 'http://127.0.0.1:2379'
/** The bridge that all nodes are plugged into. */
export const BRIDGE = 'nodes'

/** Starts etcd, the API server, the controller manager and the scheduler, in the namespaces that the caller is in. */
export async function startControlPlane(cluster: Cluster): Promise<void> {
  await makeNetwork()
  await makeAuthority(cluster)
  const names = `IP:127.0.0.1,IP:${CONTROL_PLANE_ADDRESS},IP:${SERVICE_ADDRESS},DNS:kubernetes.default.svc`
  await makeIdentity(cluster, 'kube-apiserver', '/CN=kube-apiserver', names)
  await makeIdentity(cluster, 'admin', '/O=system:masters/CN=admin')
  await makeIdentity(cluster, 'kube-controller-manager', '/CN=system:kube-controller-manager')
  await makeIdentity(cluster, 'kube-scheduler', '/CN=system:kube-scheduler')
  startEtcd(cluster)
  startApiServer(cluster)
  await waitFor('the API server', () => kubectl(cluster, ['get', '--raw', '/readyz']))
  startControllerManager(cluster)
  startScheduler(cluster)
}

async function makeNetwork(): Promise<void> {
  const ip = (...args: string[]): Promise<string> => run('ip', args)
  await ip('link', 'set', 'lo', 'up')
  await ip('address', 'add', `${SERVICE_ADDRESS}/32`, 'dev', 'lo')
  await ip('link', 'add', BRIDGE, 'type', 'bridge')
  await ip('address', 'add', `${CONTROL_PLANE_ADDRESS}/24`, 'dev', BRIDGE)
  await ip('link', 'set', BRIDGE, 'up')
  fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
}

type Flags = Readonly<Record<string, string | boolean>>

function startProgram(cluster: Cluster, name: string, values: Flags): void {
  keepRunning(cluster, name, programPath(KUBERNETES, name), flags(values))
}

function startEtcd(cluster: Cluster): void {
  startProgram(cluster, 'etcd', {
    'data-dir': path.join(cluster.folder, 'etcd'),
    'unsafe-no-fsync': true,
    'log-level': 'warn',
    'listen-client-urls': ETCD,
    'advertise-client-urls': ETCD,
    'listen-peer-urls': 'http://127.0.0.1:2380',
  })
}

/** The audit log tells who asked for what; the tests count calls with it. */
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', userGroups: ['system:serviceaccounts:stratum-system'] }, { level: 'None' }],
}

function startApiServer(cluster: Cluster): void {
  const policy = path.join(cluster.folder, 'audit-policy.json')
  fs.writeFileSync(policy, JSON.stringify(AUDIT_POLICY))
  startProgram(cluster, 'kube-apiserver', {
    'etcd-servers': ETCD,
    'advertise-address': CONTROL_PLANE_ADDRESS,
    'secure-port': '443',
    'tls-cert-file': files.certificate(cluster, 'kube-apiserver'),
    'tls-private-key-file': files.key(cluster, 'kube-apiserver'),
    'client-ca-file': files.certificate(cluster, 'ca'),
    'service-cluster-ip-range': '10.96.0.0/16',
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-key-file': files.certificate(cluster, 'accounts'),
    'service-account-signing-key-file': files.key(cluster, 'accounts'),
    'authorization-mode': 'Node,RBAC',
    'enable-admission-plugins': 'NodeRestriction',
    'allow-privileged': true,
    // For logs and exec: without this it looks nodes up by name, and there is no DNS.
    'kubelet-preferred-address-types': 'InternalIP',
    'kubelet-client-certificate': files.certificate(cluster, 'admin'),
    'kubelet-client-key': files.key(cluster, 'admin'),
    'kubelet-certificate-authority': files.certificate(cluster, 'ca'),
    'audit-policy-file': policy,
    'audit-log-path': path.join(cluster.folder, 'audit.log'),
  })
}

/** How these two answer for themselves and to others; there is one of each, so nobody has to be elected. */
function identity(cluster: Cluster, name: string): Flags {
  const config = files.kubeconfig(cluster, name)
  return {
    kubeconfig: config,
    'authentication-kubeconfig': config,
    'authorization-kubeconfig': config,
    'leader-elect': false,
  }
}

function startControllerManager(cluster: Cluster): void {
  startProgram(cluster, 'kube-controller-manager', {
    ...identity(cluster, 'kube-controller-manager'),
    'use-service-account-credentials': true,
    'service-account-private-key-file': files.key(cluster, 'accounts'),
    'root-ca-file': files.certificate(cluster, 'ca'),
    'cluster-signing-cert-file': files.certificate(cluster, 'ca'),
    'cluster-signing-key-file': files.key(cluster, 'ca'),
    // Tests power nodes off and do not want to wait minutes until that is noticed.
    'node-monitor-grace-period': '20s',
    'node-monitor-period': '2s',
    // A claim and a static volume that did not meet at once are looked at again this often.
    'pvclaimbinder-sync-period': '2s',
  })
}

function startScheduler(cluster: Cluster): void {
  startProgram(cluster, 'kube-scheduler', identity(cluster, 'kube-scheduler'))
}
