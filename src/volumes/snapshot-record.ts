import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import type { Consistency } from '../heads/stand-still.ts'
import type { NamespacedName, SnapshotId, VolumeId } from './volume-record.ts'

/** A snapshot: a commit of a volume's HEAD with a tag of its own. Lies in `state/snapshots/<id>.json`, durable before the commit is made. */
export interface SnapshotRecord {
  readonly id: SnapshotId
  /** Of the request: two requests of one name are one snapshot. */
  readonly name: string
  readonly volume: VolumeId
  readonly label: Label
  /** It keeps the commit. Nothing else has it. */
  readonly tag: Tag
  /** RFC 3339: of the intent, and when it is ready, of the commit. */
  readonly created: string
  readonly state: 'creating' | 'ready' | 'deleting'
  /** Undefined until it is ready. */
  readonly commit: CommitId | undefined
  /** Of the volume: what a new volume has to have at least. */
  readonly capacityBytes: number
  readonly consistency: Consistency
  /** Whether files that look cut by a power loss are taken as they are. */
  readonly allowUnclean: boolean
  /** The VolumeSnapshot that it was made for, as external-snapshotter tells with --extra-create-metadata. */
  readonly request: NamespacedName | undefined
}
