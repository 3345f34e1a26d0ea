import { StratumError } from '../errors/stratum-error.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import { toUser } from '../names/text.ts'
import { type AccessMode, headTargets, type Published, targetsOf } from './ledger.ts'
import type { PublishRequest } from './publish-request.ts'
import type { VolumeSpec } from './volume-attributes.ts'
import type { Volumes } from './volumes.ts'

const READING: ReadonlySet<AccessMode> = new Set(['SINGLE_NODE_READER_ONLY', 'MULTI_NODE_READER_ONLY'])
/** More than one target at once, on one node. */
const SHARING: ReadonlySet<AccessMode> = new Set([
  'SINGLE_NODE_MULTI_WRITER',
  'MULTI_NODE_READER_ONLY',
  'MULTI_NODE_SINGLE_WRITER',
  'MULTI_NODE_MULTI_WRITER',
])

type Asked = Pick<PublishRequest, 'readOnly' | 'accessMode'>

/** Whether the mount is to be read-only. A mode that the volume is not made for is refused. @throws unsupported */
export function mountsReadOnly({ readOnly, accessMode }: Asked, { reference, ephemeral }: VolumeSpec): boolean {
  if (ephemeral) return true // kubelet asks for every inline volume as if it were written to
  const reads = readOnly || READING.has(accessMode)
  if (reference.kind === 'name') {
    if (reads) return true
    throw new StratumError('unsupported', `${formatReference(reference)} is a tag: it cannot be mounted writable`, {
      hint: 'The accessModes of its PersistentVolume are [ReadOnlyMany]',
    })
  }
  if (!accessMode.startsWith('MULTI_NODE') || accessMode === 'MULTI_NODE_READER_ONLY') return reads
  throw new StratumError('unsupported', `the HEAD of ${reference.label} is written on one node`, {
    hint: 'accessModes are [ReadWriteOnce] or [ReadWriteOncePod]',
  })
}

/** What is to be published once more. */
interface Another {
  readonly volumeId: string
  readonly target: string
  readonly reference: Reference
}

/**
 * Whether a volume that is published already may be published at this target, too (CSI specification, NodePublishVolume). A HEAD is one
 * volume, whatever the ids of those who name it. @throws in-use
 */
export function checkAccess({ ledger }: Volumes, another: Another, { accessMode }: Asked): void {
  const { volumeId, target, reference } = another
  const own = reference.kind === 'head' ? headTargets(ledger, reference.label) : targetsOf(ledger, volumeId)
  for (const other of own) {
    if (other.target === target || (SHARING.has(accessMode) && shares(other))) continue
    const alone = SHARING.has(accessMode) ? (other.accessMode ?? '') : accessMode
    throw new StratumError(
      'in-use',
      `${formatReference(reference)} is published at ${toUser(other.target)}, and ${alone} allows one target`,
      other.pod?.name ? { hint: `It is used by pod ${other.pod.namespace}/${other.pod.name}` } : {},
    )
  }
}

/** One whose mode is not known, after its ledger was lost, is not in anybody's way. */
function shares({ accessMode }: Published): boolean {
  return accessMode === undefined || SHARING.has(accessMode)
}
