import { readCommit } from '../commits/commit-store.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import { listMounted, type RecordedMount } from '../mounts/records.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { bootId } from '../host/boot.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import { requireLabel, resolveCommit } from '../refs/resolve.ts'
import type { Store } from '../store/layout.ts'
import type { Context } from './context.ts'
import { type DiffSummary, diffHead } from './diff.ts'
import { look } from './look.ts'
import { requireHead } from './views.ts'

export interface HeadStatus {
  readonly kind: 'head'
  readonly label: Label
  readonly head: HeadRecord
  readonly base: CommitMetadata
  readonly lastCommit: CommitMetadata
  readonly mounts: readonly RecordedMount[]
  /** What is not committed yet. */
  readonly uncommitted: DiffSummary
  /** Anything differs, be it only an attribute of a directory. */
  readonly dirty: boolean
  /** The machine went down while HEAD was mounted. */
  readonly unclean: boolean
}

export interface CommitStatus {
  readonly kind: 'commit'
  readonly label: Label
  readonly tag: Tag | undefined
  readonly commit: CommitMetadata
  readonly mounts: readonly RecordedMount[]
}

/** What is known of a HEAD or a commit: where it is mounted, what it is, what is not committed. @throws not-found */
export async function readStatus(context: Context, reference: Reference): Promise<HeadStatus | CommitStatus> {
  requireLabel(context.store, reference.label)
  return await look(context, [reference], async () =>
    reference.kind === 'head' ? headStatus(context, reference.label) : commitStatus(context, reference),
  )
}

async function headStatus(context: Context, label: Label): Promise<HeadStatus> {
  const { store } = context
  const head = requireHead(store, label)
  const { differences, summary } = await diffHead(context, label, head)
  return {
    kind: 'head',
    label,
    head,
    base: readCommit(store, head.base),
    lastCommit: readCommit(store, head.lastCommit),
    mounts: listMounted(store).filter(mounted => mounted.label === label && mounted.generation !== undefined),
    uncommitted: summary,
    dirty: differences.length > 0,
    unclean: head.bootId !== '' && head.bootId !== bootId(),
  }
}

function commitStatus({ store }: Context, reference: Reference): CommitStatus {
  const { label, id, tag } = resolveCommit(store, reference)
  return { kind: 'commit', label, tag, commit: readCommit(store, id), mounts: mountsOf(store, label, id) }
}

function mountsOf(store: Store, label: Label, id: CommitId): RecordedMount[] {
  return listMounted(store).filter(
    mounted => mounted.label === label && mounted.commit === id && mounted.generation === undefined,
  )
}
