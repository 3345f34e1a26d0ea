import type { KubeObject, Resource } from '../client/objects.ts'

/** The objects of Kubernetes that are read here, with the fields that are used. */
export interface Namespace extends KubeObject {}

export interface Node extends KubeObject {
  readonly spec?: {
    readonly taints?: readonly { readonly key: string; readonly value?: string; readonly effect: string }[]
    readonly unschedulable?: boolean
  }
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

export interface CsiNode extends KubeObject {
  readonly spec: { readonly drivers?: readonly { readonly name: string }[] | null }
}

export interface Claim extends KubeObject {
  readonly spec: {
    readonly storageClassName?: string
    readonly volumeName?: string
    readonly dataSource?: DataSource
    readonly dataSourceRef?: DataSource
  }
  readonly status?: { readonly phase?: string }
}

export interface DataSource {
  readonly apiGroup?: string | null
  readonly kind: string
  readonly name: string
  readonly namespace?: string
}

export interface Volume extends KubeObject {
  readonly spec: {
    readonly csi?: {
      readonly driver: string
      readonly volumeHandle: string
      readonly volumeAttributes?: Readonly<Record<string, string>>
    }
    readonly claimRef?: { readonly namespace?: string; readonly name?: string; readonly uid?: string }
    readonly nodeAffinity?: {
      readonly required?: {
        readonly nodeSelectorTerms?: readonly {
          readonly matchExpressions?: readonly {
            readonly key: string
            readonly operator: string
            readonly values?: readonly string[]
          }[]
        }[]
      }
    }
  }
  readonly status?: { readonly phase?: string }
}

export interface StorageClass extends KubeObject {
  readonly provisioner: string
  readonly volumeBindingMode?: string
}

export interface VolumeSnapshot extends KubeObject {
  readonly status?: { readonly boundVolumeSnapshotContentName?: string }
}

export interface VolumeSnapshotContent extends KubeObject {
  readonly spec: { readonly driver: string; readonly source?: { readonly snapshotHandle?: string } }
  readonly status?: { readonly readyToUse?: boolean }
}

const core = { group: '', version: 'v1' } as const
const storage = { group: 'storage.k8s.io', version: 'v1', namespaced: false } as const
const snapshots = { group: 'snapshot.storage.k8s.io', version: 'v1' } as const

export const PODS: Resource<KubeObject> = { ...core, kind: 'Pod', plural: 'pods', namespaced: true }
export const NAMESPACES: Resource<Namespace> = { ...core, kind: 'Namespace', plural: 'namespaces', namespaced: false }
export const NODES: Resource<Node> = { ...core, kind: 'Node', plural: 'nodes', namespaced: false }
export const CLAIMS: Resource<Claim> = {
  ...core,
  kind: 'PersistentVolumeClaim',
  plural: 'persistentvolumeclaims',
  namespaced: true,
}
export const VOLUMES: Resource<Volume> = {
  ...core,
  kind: 'PersistentVolume',
  plural: 'persistentvolumes',
  namespaced: false,
}
export const CSI_NODES: Resource<CsiNode> = { ...storage, kind: 'CSINode', plural: 'csinodes' }
export const STORAGE_CLASSES: Resource<StorageClass> = { ...storage, kind: 'StorageClass', plural: 'storageclasses' }
export const SNAPSHOTS: Resource<VolumeSnapshot> = {
  ...snapshots,
  kind: 'VolumeSnapshot',
  plural: 'volumesnapshots',
  namespaced: true,
}
export const SNAPSHOT_CONTENTS: Resource<VolumeSnapshotContent> = {
  ...snapshots,
  kind: 'VolumeSnapshotContent',
  plural: 'volumesnapshotcontents',
  namespaced: false,
}

export const DRIVER_NAME = 'stratum.csi.dev'
/** On a VolumeSnapshotContent: the node whose sidecar works on it. */
export const MANAGED_BY = 'snapshot.storage.kubernetes.io/managed-by'
export const TOPOLOGY_KEY = 'topology.stratum.csi.dev/node'

export function isReady(node: Node): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
}

/** The node that a volume of ours is on, or undefined if that is not said. */
export function nodeOfVolume({ spec }: Volume): string | undefined {
  const expressions = spec.nodeAffinity?.required?.nodeSelectorTerms?.flatMap(term => term.matchExpressions ?? []) ?? []
  return expressions.find(({ key, operator }) => key === TOPOLOGY_KEY && operator === 'In')?.values?.[0]
}
