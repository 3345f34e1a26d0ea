import type { Metadata } from '../client/objects.ts'
import { type Claim, type CsiNode, DRIVER_NAME, type Node } from '../resources/core.ts'
import { type CommitSpec, FINALIZER, type StratumCommit, type StratumLabel } from '../resources/stratum.ts'

/** What the controller keeps of objects in memory: there may be tens of thousands. */

function projectMetadata({ name, namespace, uid, resourceVersion, generation, ...metadata }: Metadata): Metadata {
  const { creationTimestamp, deletionTimestamp, finalizers } = metadata
  return {
    name,
    uid,
    resourceVersion,
    creationTimestamp,
    ...(namespace === undefined ? {} : { namespace }),
    ...(generation === undefined ? {} : { generation }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(finalizers === undefined ? {} : { finalizers: shared(finalizers) }),
  }
}

const OURS = [FINALIZER] as const

function shared(finalizers: readonly string[]): readonly string[] {
  return finalizers.length === 1 && finalizers[0] === FINALIZER ? OURS : finalizers
}

/** Of requests that are over, the many, only when they expire is asked. One that is deleted comes again as a whole. */
export function projectRequest({ metadata, spec, status }: StratumCommit): StratumCommit {
  const kept = projectMetadata(metadata)
  const { completionTime } = status ?? {}
  if (completionTime === undefined || kept.deletionTimestamp !== undefined)
    return { metadata: kept, spec, ...(status === undefined ? {} : { status }) }
  const { label, ttlSecondsAfterFinished } = spec
  const ttl = ttlSecondsAfterFinished === undefined ? {} : { ttlSecondsAfterFinished }
  return { metadata: kept, spec: { ...OVER, label, ...ttl }, status: { completionTime } }
}

/** Stands for what nobody asks of a request that is over. */
const OVER: Omit<CommitSpec, 'label'> = {
  source: {},
  consistency: 'Freeze',
  maxPauseMilliseconds: 0,
  emptyPolicy: 'Skip',
  unclean: 'Refuse',
  deadlineSeconds: 0,
  deletionPolicy: 'Retain',
  suspend: false,
}

/** Tags are most of a StratumLabel; who wants them reads them. */
export function projectLabel({ metadata, spec, status = {} }: StratumLabel): StratumLabel {
  const { lastCommit: _, tags: __, tagCount: ___, ...kept } = status
  return { metadata: projectMetadata(metadata), spec, status: kept }
}

export function projectNode({ metadata, spec, status }: Node): Node {
  const conditions = status?.conditions?.filter(({ type }) => type === 'Ready') ?? []
  return { metadata: projectMetadata(metadata), spec: { taints: spec?.taints ?? [] }, status: { conditions } }
}

export function projectCsiNode({ metadata, spec }: CsiNode): CsiNode {
  const drivers = spec.drivers?.filter(driver => driver.name === DRIVER_NAME) ?? []
  return { metadata: projectMetadata(metadata), spec: { drivers } }
}

/** Of claims that are bound or have no source, nothing is needed. */
export function projectClaim(claim: Claim): Claim {
  const metadata = projectMetadata(claim.metadata)
  if (!mayNeedNode(claim)) return { metadata, spec: {} }
  const { annotations = {} } = claim.metadata
  return { metadata: { ...metadata, annotations }, spec: claim.spec, status: claim.status ?? {} }
}

/** The annotation of a claim that begins with a tag. */
export const FROM = 'stratum.dev/from'
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node'

/** An unbound claim with a source, whose node nobody has selected. */
export function mayNeedNode({ metadata, spec }: Claim): boolean {
  const { annotations = {}, deletionTimestamp } = metadata
  const hasSource = spec.dataSource !== undefined || spec.dataSourceRef !== undefined || annotations[FROM] !== undefined
  return hasSource && !spec.volumeName && annotations[SELECTED_NODE] === undefined && deletionTimestamp === undefined
}
