import { type Amount, type CommitUsage, measureUsage, type Usage } from '../collect/usage.ts'
import { readCommit } from '../commits/commit-store.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { requireLabel, resolveCommit } from '../refs/resolve.ts'
import { readTags } from '../refs/tags.ts'
import { paths } from '../store/layout.ts'
import { lockStore } from '../store/locks.ts'
import { diskUsage } from '../store/usage.ts'
import { type Context, lockOptions } from './context.ts'

/** One commit of a label: what it takes, and what would come back without it. */
export interface CommitRow extends CommitUsage {
  readonly id: CommitId
  readonly tags: readonly Tag[]
  /** RFC 3339. */
  readonly timestamp: string
  readonly files: number
  /** Sum of the sizes of its files. */
  readonly size: number
  /** What removing its tags frees: nothing while something else keeps it. */
  readonly frees: number
  /** What else keeps it. */
  readonly keptBy: readonly string[]
}

export interface LabelRow {
  readonly label: Label
  readonly commits: number
  readonly bytes: number
  /** What no other label has. */
  readonly exclusive: number
  /** What HEAD holds that is in no commit. */
  readonly head: number
}

export interface StoreUsage {
  readonly objects: Amount
  /** Objects that no kept commit names: the next collection takes them. */
  readonly unused: Amount
  /** Images and metadata of all commits. */
  readonly commits: number
  readonly heads: number
  readonly trash: number
  readonly quarantine: number
  readonly staging: number
  readonly labels: readonly LabelRow[]
}

/** What the whole store takes. */
export async function measureStore(context: Context): Promise<StoreUsage> {
  const { store } = context
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const { objects, unused, labels } = await usageOf(context)
  const rows = labels.map(({ label, commits, bytes, exclusive }): LabelRow => {
    return { label, commits: commits.length, bytes, exclusive, head: headBytes(context, label) }
  })
  return {
    objects,
    unused,
    commits: diskUsage(paths.commits(store)).bytes,
    heads: rows.reduce((sum, { head }) => sum + head, 0),
    trash: diskUsage(paths.trash(store)).bytes,
    quarantine: diskUsage(paths.quarantine(store)).bytes,
    staging: diskUsage(paths.staging(store)).bytes,
    labels: rows.sort((a, b) => b.exclusive - a.exclusive),
  }
}

/** What a label takes, commit by commit, or one commit of it. @throws not-found */
export async function measureLabel(
  context: Context,
  reference: Reference,
): Promise<{ row: LabelRow; commits: CommitRow[] }> {
  const { store } = context
  const { label } = reference
  using _store = await lockStore(store, 'shared', lockOptions(context))
  requireLabel(store, label)
  const wanted = reference.kind === 'name' ? resolveCommit(store, reference).id : undefined
  const usage = await usageOf(context)
  const own = usage.labels.find(other => other.label === label)
  const ids = wanted === undefined ? (own?.commits ?? []) : [wanted]
  const tags = readTags(store, label)
  const row: LabelRow = {
    label,
    commits: own?.commits.length ?? 0,
    bytes: own?.bytes ?? 0,
    exclusive: own?.exclusive ?? 0,
    head: headBytes(context, label),
  }
  const commits = ids.map(id => commitRow(context, usage, label, tags, id))
  return { row, commits: commits.sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1)) }
}

function commitRow(
  { store }: Context,
  usage: Usage,
  label: Label,
  labelTags: ReadonlyMap<Tag, CommitId>,
  id: CommitId,
): CommitRow {
  const tags = [...labelTags].flatMap(([tag, commit]) => (commit === id ? [tag] : []))
  const { files, bytes: size, timestamp } = readCommit(store, id)
  const own = usage.ofCommit(id)
  const keptBy = (usage.roots.get(id) ?? []).filter(root => root.kind !== 'tag' || root.label !== label)
  return {
    ...own,
    id,
    tags,
    timestamp,
    files,
    size,
    frees: keptBy.length === 0 ? own.exclusive : 0,
    keptBy: keptBy.map(({ holder }) => holder),
  }
}

function usageOf({ store, signal, onProgress }: Context): Promise<Usage> {
  return measureUsage(store, { signal, onObjects: files => onProgress?.({ stage: 'counting', files, bytes: 0 }) })
}

function headBytes({ store }: Context, label: Label): number {
  return diskUsage(paths.upper(store, label)).bytes
}
