import type { CommitMetadata } from '../commits/metadata.ts'
import type { Digest } from '../hashes/verity.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import type { HeadRecord } from '../refs/head-file.ts'

/**
 * How bad it is. `damage`: something cannot be read as it was stored. `leftover`: a command was cut off; the next one, or a collection,
 * puts it right. `note`: worth knowing.
 */
export type Severity = 'damage' | 'leftover' | 'note'

/** Something that is not as it should be. */
export interface Finding {
  readonly severity: Severity
  readonly kind: FindingKind
  /** What it is about, as people know it: `app:v1`, `object ab12…`. */
  readonly what: string
  readonly message: string
  /** Files that suffer: `app:v1 /bin/tool`. */
  readonly affected?: readonly string[]
  /** What `--repair` does; nothing if it would have to guess. */
  readonly repair?: Repair
}

export type FindingKind =
  | 'object-missing'
  | 'object-damaged'
  | 'permissions'
  | 'foreign'
  | 'commit-damaged'
  | 'metadata-damaged'
  | 'tag-dangling'
  | 'tag-damaged'
  | 'head-damaged'
  | 'head-dangling'
  | 'unfinished'
  | 'log-damaged'
  | 'leftover'
  | 'folder-missing'
  | 'not-checked'

/** What a repair does. Each looks again before it does it. */
export type Repair =
  | { readonly do: 'restore-object'; readonly digest: Digest; readonly from: string }
  | { readonly do: 'quarantine-object'; readonly digest: Digest }
  | { readonly do: 'restore-commit'; readonly id: CommitId; readonly from: string }
  | { readonly do: 'quarantine-commit'; readonly id: CommitId }
  | { readonly do: 'write-metadata'; readonly metadata: CommitMetadata }
  | { readonly do: 'quarantine'; readonly path: string }
  | { readonly do: 'permissions'; readonly path: string; readonly mode: number }
  | { readonly do: 'make-folder'; readonly path: string }
  | { readonly do: 'write-tag'; readonly label: Label; readonly tag: Tag; readonly to: CommitId }
  | {
      readonly do: 'quarantine-tag'
      readonly label: Label
      readonly tag: Tag
      readonly from: CommitId | null
    }
  | { readonly do: 'write-head'; readonly label: Label; readonly head: HeadRecord }
  | { readonly do: 'recover-label'; readonly label: Label }
  | { readonly do: 'rewrite-log'; readonly label: Label }
  | { readonly do: 'remove-temporary'; readonly path: string }
  | { readonly do: 'clear-staging' }
  | { readonly do: 'tidy-records' }
