import { apply, get, type KubeObject, unique } from './cluster.ts'

/** Objects of volumes as people write them. */
export const STORAGE_CLASS = 'stratum'
export const DRIVER = 'stratum.csi.dev'
export const TOPOLOGY_KEY = 'topology.stratum.csi.dev/node'

export interface ClaimSpec {
  readonly name?: string
  readonly namespace?: string
  readonly accessModes?: readonly string[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly dataSource?: KubeObject
  readonly volumeName?: string
}

/** Makes a PersistentVolumeClaim and gives its name. */
export async function createClaim(spec: ClaimSpec = {}): Promise<string> {
  const name = spec.name ?? unique('claim')
  await apply({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace: spec.namespace ?? 'default', annotations: spec.annotations ?? {} },
    spec: {
      storageClassName: spec.volumeName === undefined ? STORAGE_CLASS : '',
      accessModes: spec.accessModes ?? ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      ...(spec.dataSource === undefined ? {} : { dataSource: spec.dataSource }),
      ...(spec.volumeName === undefined ? {} : { volumeName: spec.volumeName }),
    },
  })
  return name
}

/** A static PersistentVolume for one claim, and that claim; gives the name of both. `node` is where it may be mounted. */
export async function createStaticVolume(
  attributes: Readonly<Record<string, string>>,
  options: { node?: string; readOnly?: boolean; namespace?: string; mountOptions?: readonly string[] } = {},
): Promise<string> {
  const name = unique('static')
  const namespace = options.namespace ?? 'default'
  const accessModes = [options.readOnly === true ? 'ReadOnlyMany' : 'ReadWriteOnce']
  const expression = { key: TOPOLOGY_KEY, operator: 'In', values: [options.node] }
  const affinity = { required: { nodeSelectorTerms: [{ matchExpressions: [expression] }] } }
  await apply({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes,
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: '',
      mountOptions: options.mountOptions ?? [],
      claimRef: { namespace, name },
      csi: { driver: DRIVER, volumeHandle: name, readOnly: options.readOnly === true, volumeAttributes: attributes },
      ...(options.node === undefined ? {} : { nodeAffinity: affinity }),
    },
  })
  return createClaim({ name, namespace, accessModes, volumeName: name })
}

/** An inline volume of a pod. */
export function inline(attributes: Readonly<Record<string, string>>): KubeObject {
  return { csi: { driver: DRIVER, readOnly: true, volumeAttributes: attributes } }
}

/** The node that the claim's volume is on. */
export async function nodeOfClaim(name: string, namespace = 'default'): Promise<string> {
  const { spec } = await get('pvc', name, namespace)
  const volume = await get('pv', spec.volumeName)
  return volume.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]
}
