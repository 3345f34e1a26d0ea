import { readCommit } from '../commits/commit-store.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import { type HeadRecord, readHead } from '../refs/head-file.ts'
import { type LogEntry, readLog } from '../refs/log.ts'
import { requireLabel } from '../refs/resolve.ts'
import { listLabels, readTags } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'

export interface ListedTag {
  readonly tag: Tag
  readonly commit: CommitId
  /** Undefined where the commit is missing. */
  readonly metadata: CommitMetadata | undefined
}

export interface ListedLabel {
  readonly label: Label
  readonly tags: number
  readonly head: HeadRecord | undefined
  /** HEAD's last commit or, without a HEAD, the newest tag. */
  readonly newest: CommitMetadata | undefined
}

/** The tags of a label, newest commit first. @throws not-found */
export function listTags(store: Store, label: Label): ListedTag[] {
  requireLabel(store, label)
  return describeTags(store, label)
}

function describeTags(store: Store, label: Label): ListedTag[] {
  const tags = [...readTags(store, label)].map(([tag, commit]) => ({ tag, commit, metadata: tryRead(store, commit) }))
  return tags.sort(
    (a, b) => (b.metadata?.timestamp ?? '').localeCompare(a.metadata?.timestamp ?? '') || a.tag.localeCompare(b.tag),
  )
}

/** Every label of the store, by name. */
export function listAllLabels(store: Store): ListedLabel[] {
  return listLabels(store).map(label => {
    const head = readHead(store, label)
    const tags = describeTags(store, label) // also of one that is removed just now
    return {
      label,
      tags: tags.length,
      head,
      newest: head === undefined ? tags[0]?.metadata : tryRead(store, head.lastCommit),
    }
  })
}

/** What happened to a label, newest first. @throws not-found, integrity */
export function readHistory(store: Store, label: Label, limit = Number.POSITIVE_INFINITY): LogEntry[] {
  requireLabel(store, label)
  return readLog(store, label).reverse().slice(0, limit)
}

function tryRead(store: Store, id: CommitId): CommitMetadata | undefined {
  try {
    return readCommit(store, id)
  } catch (error) {
    if (isStratumError(error)) return undefined
    throw error
  }
}
