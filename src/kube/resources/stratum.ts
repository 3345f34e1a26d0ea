import type { KubeObject, Resource } from '../client/objects.ts'
import type { Condition } from './conditions.ts'

/** A request for a commit or for tags; docs/api.md says what each field means. What has a default is always there. */
export interface StratumCommit extends KubeObject {
  readonly spec: CommitSpec
  readonly status?: CommitStatus
}

export interface CommitSpec {
  readonly label: string
  readonly source: { readonly head?: object; readonly commit?: string; readonly tag?: string }
  readonly tags?: readonly {
    readonly name: string
    readonly policy: 'IfNotPresent' | 'Move'
    readonly expected?: string
  }[]
  readonly message?: string
  readonly consistency: 'Freeze' | 'Live' | 'Idle'
  readonly maxPauseMilliseconds: number
  readonly emptyPolicy: 'Skip' | 'Fail'
  readonly unclean: 'Refuse' | 'Allow'
  readonly deadlineSeconds: number
  readonly ttlSecondsAfterFinished?: number | null
  readonly deletionPolicy: 'Retain' | 'Delete'
  readonly suspend: boolean
}

export type TagState = 'Created' | 'Moved' | 'Unchanged' | 'Conflict' | 'Removed'

export interface StatusTag {
  readonly name: string
  readonly state: TagState
}

export interface CommitStatus {
  readonly observedGeneration?: number
  readonly nodeName?: string
  readonly commitId?: string
  readonly parentId?: string
  readonly merkleRoot?: string
  readonly size?: CommitSize
  readonly pauseMilliseconds?: number
  readonly tags?: readonly StatusTag[]
  readonly tagNames?: string
  readonly startTime?: string
  readonly completionTime?: string
  readonly conditions?: readonly Condition[]
}

export interface CommitSize {
  readonly files: number
  readonly bytes: number
  readonly filesChanged?: number
  readonly bytesAdded?: number
}

/** A label as the cluster knows it, and the arbiter of its HEAD. */
export interface StratumLabel extends KubeObject {
  readonly spec: { readonly label: string }
  readonly status?: LabelStatus
}

export interface LabelStatus {
  readonly holder?: Holder | null
  readonly namespaceUid?: string
  readonly lastCommit?: string
  readonly tagCount?: number
  readonly tags?: readonly { readonly name: string; readonly commitId: string; readonly time?: string }[]
  readonly nodes?: readonly LabelNode[]
  readonly tombstones?: readonly Tombstone[]
  readonly conditions?: readonly Condition[]
}

export interface Holder {
  readonly storeId: string
  readonly nodeName: string
  readonly since?: string
}

export interface LabelNode {
  readonly nodeName: string
  readonly storeId?: string
  readonly tagCount?: number
  readonly bytes?: number
}

export interface Tombstone {
  readonly uid: string
  readonly nodeName: string
  readonly commitId?: string
  readonly time?: string
  readonly tags: readonly string[]
}

const GROUP = { group: 'stratum.dev', version: 'v1alpha1', namespaced: true } as const

export const STRATUM_COMMITS: Resource<StratumCommit> = { ...GROUP, kind: 'StratumCommit', plural: 'stratumcommits' }
export const STRATUM_LABELS: Resource<StratumLabel> = { ...GROUP, kind: 'StratumLabel', plural: 'stratumlabels' }

/** On every StratumCommit from first sight: none can be added to an object that is being deleted. */
export const FINALIZER = 'stratum.dev/tags'
/** What StratumLabels list at most. */
export const TAGS_LISTED_MAX = 100
