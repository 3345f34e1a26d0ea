import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { type Label, parseLabel, quote } from '../names/label.ts'
import { parseReference, type Reference } from '../names/reference.ts'
import { isHead, parseTag } from '../names/tag.ts'
import type { Pod } from './ledger.ts'
import type { VolumeRecord } from './volume-record.ts'
import { parseVolumeId, readVolume } from './volume-store.ts'
import type { Volumes } from './volumes.ts'

/** Readable by every namespace, and no namespace may be called so. */
const LIBRARY = 'library'
const POD_INFO = 'csi.storage.k8s.io/'
const ACCEPTED = new Set(['storage.kubernetes.io/csiProvisionerIdentity'])

/** What a volume is: by its record, by the attributes of a static PV, or by those of a pod. */
export interface VolumeSpec {
  readonly reference: Reference
  readonly record: VolumeRecord | undefined
  readonly ephemeral: boolean
  readonly pod: Pod | undefined
}

/**
 * Reads a volume's attributes: a closed set, because a misspelt one would otherwise give a pod another volume than it asked for.
 * @throws usage, not-found, permission
 */
export function readVolumeSpec(
  volumes: Volumes,
  volumeId: string,
  attributes: Readonly<Record<string, string>>,
): VolumeSpec {
  const own = ownAttributes(attributes)
  const pod = readPod(volumes, attributes)
  const ephemeral = readEphemeral(attributes)
  const record = ephemeral ? undefined : findRecord(volumes, volumeId, own)
  if (record !== undefined) return { ...dynamicVolume(record, own, pod), ephemeral, pod }
  if (own.label === undefined) throw unknownVolume(volumeId, ephemeral)
  const named = readReference(own.label, own.tag)
  if (ephemeral) return { reference: namespaced(named, pod), record, ephemeral, pod }
  if (named.kind === 'head') requireNamespace(named.label, pod)
  return { reference: named, record, ephemeral, pod }
}

interface OwnAttributes {
  readonly label?: string
  readonly tag?: string
}

function ownAttributes(attributes: Readonly<Record<string, string>>): OwnAttributes {
  const unknown = Object.keys(attributes).filter(
    key => key !== 'label' && key !== 'tag' && !key.startsWith(POD_INFO) && !ACCEPTED.has(key),
  )
  if (unknown.length > 0) {
    throw new StratumError('usage', `unknown volume attribute ${unknown.map(quote).join(', ')}`, {
      hint: 'There are label and tag',
    })
  }
  const { label, tag } = attributes
  return { ...(label === undefined ? {} : { label }), ...(tag === undefined ? {} : { tag }) }
}

/** kubelet tells whose volume it is (podInfoOnMount), and overrides what the attributes say of that. */
function readPod({ driver }: Volumes, attributes: Readonly<Record<string, string>>): Pod | undefined {
  const [uid, namespace, name] = ['uid', 'namespace', 'name'].map(key => attributes[`${POD_INFO}pod.${key}`] ?? '')
  if (uid !== '' && namespace !== '' && name !== '') {
    if (/^[0-9a-z][0-9a-z-]{0,62}$/.test(namespace)) return { uid, namespace, name }
    throw new StratumError('usage', `${quote(namespace)} is no namespace`)
  }
  if (driver.kubeletDir === undefined) return undefined
  throw new StratumError('usage', `kubelet did not say which pod the volume is for`, {
    hint: `The CSIDriver object ${driver.name} needs podInfoOnMount: true`,
  })
}

function readEphemeral(attributes: Readonly<Record<string, string>>): boolean {
  const text = attributes[`${POD_INFO}ephemeral`] ?? 'false'
  if (text === 'true' || text === 'false') return text === 'true'
  throw new StratumError('usage', `${POD_INFO}ephemeral is ${quote(text)}, neither true nor false`)
}

function readReference(label: string, tag: string | undefined): Reference {
  const reference = parseReference(label)
  if (tag === undefined || tag === '') return reference
  if (reference.kind === 'name' || label.includes(':'))
    throw new StratumError('usage', `the label ${quote(label)} names a tag already, and there is a tag ${quote(tag)}`)
  if (isHead(tag)) return reference
  return { label: reference.label, kind: 'name', name: parseTag(tag) }
}

/** A pod reaches the tags of its own namespace and of the library, whatever it writes. */
function namespaced(reference: Reference, pod: Pod | undefined): Reference {
  if (reference.kind === 'head')
    throw new StratumError('usage', `an inline volume shows a tag, read-only: ${reference.label} needs one`, {
      hint: `HEAD, writable, is mounted by a claim; a tag by volumeAttributes {label: ${reference.label}, tag: <tag>}`,
    })
  if (pod === undefined) throw new StratumError('usage', 'an inline volume needs the namespace of its pod')
  requireNoLibrary(pod)
  if (reference.label.startsWith(`${LIBRARY}/`)) return reference
  return { ...reference, label: parseLabel(`${pod.namespace}/${reference.label}`) }
}

function dynamicVolume(
  record: VolumeRecord,
  own: OwnAttributes,
  pod: Pod | undefined,
): Pick<VolumeSpec, 'reference' | 'record'> {
  if (own.label !== undefined || own.tag !== undefined)
    throw new StratumError(
      'usage',
      `volume ${record.id} was provisioned: label and tag cannot be set by its PersistentVolume`,
    )
  if (record.state !== 'ready')
    throw new StratumError(
      'not-found',
      `volume ${record.id} is ${record.state === 'creating' ? 'not made yet' : 'being deleted'}`,
    )
  if (record.claim !== undefined && pod !== undefined && record.claim.namespace !== pod.namespace)
    throw new StratumError(
      'permission',
      `volume ${record.id} belongs to namespace ${record.claim.namespace}, not to ${pod.namespace}`,
    )
  return { reference: { label: record.label, kind: 'head' }, record }
}

/** A HEAD is written by one namespace; tags of a static PV may be of any: PVs belong to admins. */
function requireNamespace(label: Label, pod: Pod | undefined): void {
  if (pod === undefined) return
  requireNoLibrary(pod)
  if (label.startsWith(`${pod.namespace}/`)) return
  throw new StratumError('permission', `the HEAD of ${label} cannot be mounted in namespace ${pod.namespace}`, {
    hint: `A HEAD's label begins with the namespace of its claim: ${pod.namespace}/…`,
  })
}

function requireNoLibrary({ namespace }: Pod): void {
  if (namespace === LIBRARY)
    throw new StratumError('permission', `a namespace called ${LIBRARY} cannot use volumes: its labels are everybody's`)
}

/** @throws not-found, where the id is one of another store */
function findRecord({ store, driver }: Volumes, volumeId: string, own: OwnAttributes): VolumeRecord | undefined {
  try {
    const id = parseVolumeId(store, volumeId)
    return id === undefined ? undefined : readVolume(store, id)
  } catch (error) {
    if (!isStratumError(error, 'wrong-node')) throw error
    if (own.label !== undefined) return undefined // a static PV may be called as it likes
    throw new StratumError('not-found', `${error.message}, not of the store that node ${driver.nodeId} has now`, {
      cause: error,
      hint: 'Was the node set up anew? Bring its store back from a backup, or delete the claim. An empty volume is never put in its place',
    })
  }
}

function unknownVolume(volumeId: string, ephemeral: boolean): StratumError {
  if (ephemeral) return new StratumError('usage', 'the volume attribute label is missing')
  return new StratumError('not-found', `there is no volume ${quote(volumeId)} in this store`, {
    hint: 'A static PersistentVolume needs the volume attribute label',
  })
}
