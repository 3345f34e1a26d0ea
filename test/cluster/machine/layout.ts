import path from 'node:path'

/**
 * A cluster: one folder with all that it writes, and addresses that mean something only inside its network namespace. `name` is in the
 * names of the control groups of its nodes, which are the one thing outside the folder and the namespaces.
 */
export interface Cluster {
  readonly folder: string
  readonly name: string
  readonly nodes: readonly ClusterNode[]
}

export interface ClusterNode {
  readonly name: string
  readonly address: string
  /** Its pods' addresses. */
  readonly podNetwork: string
  /** Its folder: configuration, and `disk`, which is its /var/lib and /var/log and survives a reboot. */
  readonly folder: string
  /** The root of its control groups, in each hierarchy. */
  readonly controlGroup: string
}

export const CONTROL_PLANE_ADDRESS = '192.0.2.1'
/** The address of the Service of the API server: the control plane has it itself, so that pods need no kube-proxy to reach it. */
export const SERVICE_ADDRESS = '10.96.0.1'

export function describeCluster(folder: string, nodeCount: number): Cluster {
  const name = path.basename(folder)
  const nodes = Array.from({ length: nodeCount }, (_, index) => {
    const node = `node-${index + 1}`
    return {
      name: node,
      address: `192.0.2.${11 + index}`,
      podNetwork: `10.244.${index + 1}.0/24`,
      folder: path.join(folder, node),
      controlGroup: `${name}-${node}`,
    }
  })
  return { folder, name, nodes }
}

export const files = {
  key: (cluster: Cluster, name: string): string => path.join(cluster.folder, 'pki', `${name}.key`),
  certificate: (cluster: Cluster, name: string): string => path.join(cluster.folder, 'pki', `${name}.crt`),
  kubeconfig: (cluster: Cluster, name: string): string => path.join(cluster.folder, `${name}.kubeconfig`),
  log: (cluster: Cluster, name: string): string => path.join(cluster.folder, 'log', `${name}.log`),
  processId: (folder: string, name: string): string => path.join(folder, `${name}.pid`),
}
