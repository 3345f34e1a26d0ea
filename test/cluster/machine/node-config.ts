import path from 'node:path'
import { type Cluster, type ClusterNode, files } from './layout.ts'

/** The image that holds a pod's namespaces. */
export const PAUSE_IMAGE = 'localhost/pause:1'

export function containerdConfig(node: ClusterNode): string {
  return `
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # Where root has no CAP_SYS_RESOURCE, runc could not lower a score; it fails with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${path.join(node.folder, 'cni')}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`
}

export function podNetworkConfig(node: ClusterNode): string {
  const addresses = {
    type: 'host-local',
    dataDir: '/run/cni',
    ranges: [[{ subnet: node.podNetwork }]],
    routes: [{ dst: '0.0.0.0/0' }],
  }
  return JSON.stringify({
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      { type: 'bridge', bridge: 'pods', isGateway: true, ipam: addresses },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  })
}

export function kubeletConfig(cluster: Cluster, node: ClusterNode): string {
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${node.controlGroup}`,
    oomScoreAdj: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: files.certificate(cluster, 'ca') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: files.certificate(cluster, node.name),
    tlsPrivateKeyFile: files.key(cluster, node.name),
    failSwapOn: false,
    resolvConf: '',
    clusterDNS: ['10.96.0.10'], // nobody answers there; without an address every pod gets an Event that says so
    clusterDomain: 'cluster.local',
    // Shorter than the defaults, so that tests wait less.
    syncFrequency: '2s',
    nodeStatusUpdateFrequency: '4s',
    crashLoopBackOff: { maxContainerRestartPeriod: '2s' },
    evictionHard: { 'nodefs.available': '1%', 'imagefs.available': '1%', 'memory.available': '100Mi' },
  })
}
