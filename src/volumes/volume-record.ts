import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'

/** `vol-<first 8 digits of the store's id>-<24 digits>`: opaque, names its store, never made into a path before it was checked. */
export type VolumeId = string & { readonly __brand: 'VolumeId' }
/** `snap-<first 8 digits of the store's id>-<24 digits>`. */
export type SnapshotId = string & { readonly __brand: 'SnapshotId' }

/** What deleting a volume removes: its HEAD, or the label with all tags but those of snapshots. */
export type OnDelete = 'Head' | 'Label'

/** A dynamic volume: the HEAD of a label. Lies in `state/volumes/<id>.json` of the store, durable before its HEAD is made. */
export interface VolumeRecord {
  readonly id: VolumeId
  /** Of the request: two requests of one name are one volume. */
  readonly name: string
  readonly label: Label
  /** RFC 3339. */
  readonly created: string
  /** An intent that was written and not finished is finished, or taken back, by the next call for it. */
  readonly state: 'creating' | 'ready' | 'deleting'
  readonly onDelete: OnDelete
  /** What was asked for: nothing limits a HEAD to it. 0 if nothing was. */
  readonly capacityBytes: number
  readonly uid: number
  readonly gid: number
  /** Permission bits of the root directory. */
  readonly mode: number
  /** What its HEAD began with; undefined for an empty one. */
  readonly source: VolumeSource | undefined
  /** The commit that its HEAD began with; undefined until that is known. */
  readonly commit: CommitId | undefined
  /** The claim that it was made for, as external-provisioner tells with --extra-create-metadata. */
  readonly claim: NamespacedName | undefined
}

export interface NamespacedName {
  readonly namespace: string
  readonly name: string
}

export type VolumeSource =
  | { readonly kind: 'snapshot'; readonly id: SnapshotId }
  | { readonly kind: 'volume'; readonly id: VolumeId }
  | { readonly kind: 'reference'; readonly reference: string }
