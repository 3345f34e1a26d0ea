import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { isSuperblockGone } from '../heads/probe-superblock.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { removeIfExists, rename, syncDirectory } from '../host/files.ts'
import { listMounted, type RecordedMount } from '../mounts/records.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { readHead } from '../refs/head-file.ts'
import { moveRefs, tagRef } from '../refs/move-refs.ts'
import { requireLabel } from '../refs/resolve.ts'
import { readTag, readTags } from '../refs/tags.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { trashPath } from '../store/trash.ts'
import { type Context, lockOptions } from './context.ts'
import { diffTrees } from './diff.ts'

/** What a removal takes, told before it is done. */
export interface RemovalPlan {
  readonly label: Label
  /** Undefined for the whole label. */
  readonly tag: Tag | undefined
  readonly commit: CommitId | undefined
  /** Tags that go. */
  readonly tags: readonly Tag[]
}

/** @throws not-found, in-use */
export function planRemoval(store: Store, reference: Reference): RemovalPlan {
  const { label } = reference
  requireLabel(store, label)
  requireUnmounted(store, reference)
  if (reference.kind === 'head') {
    return {
      label,
      tag: undefined,
      commit: undefined,
      tags: [...readTags(store, label).keys()],
    }
  }
  const commit = readTag(store, label, reference.name)
  if (commit === undefined)
    throw new StratumError('not-found', `${formatReference(reference)} is no tag`, {
      hint: `stratum list ${label} shows the tags`,
    })
  return { label, tag: reference.name, commit, tags: [reference.name] }
}

/** Files of a label's HEAD that are in no commit, so that nobody loses them unasked. Undefined where there is none or it cannot be read. */
export async function countUncommitted(context: Context, label: Label): Promise<number | undefined> {
  try {
    const { summary } = await diffTrees(context, { label, kind: 'head' }, undefined)
    return summary.added + summary.modified + summary.removed
  } catch (error) {
    if (isStratumError(error)) return undefined
    throw error
  }
}

/** @throws in-use, with the mountpoint */
function requireUnmounted(store: Store, reference: Reference): void {
  const mounted = listMounted(store).find(
    each => each.label === reference.label && (reference.kind === 'head' || each.tag === reference.name),
  )
  if (mounted === undefined) return
  const what =
    mounted.generation === undefined
      ? `${mounted.label}:${mounted.tag ?? shortId(mounted.commit)}`
      : `HEAD of ${mounted.label}`
  throw new StratumError('in-use', `${what} is mounted at ${toUser(mounted.mountpoint)}${whoMounted(mounted)}`, {
    hint: `stratum unmount ${toUser(mounted.mountpoint)}`,
    details: { mountpoint: toUser(mounted.mountpoint) },
  })
}

function whoMounted({ since, pid }: RecordedMount): string {
  return since === undefined ? '' : ` since ${since} (pid ${pid})`
}

/** Removes a tag, or a whole label with HEAD and all tags. What it kept is collected later. @throws not-found, in-use */
export async function removeReference(context: Context, reference: Reference): Promise<RemovalPlan> {
  const { store, actor } = context
  const { label } = reference
  requireWritable(store)
  requireLabel(store, label)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  await recoverHead(store, label)
  const plan = planRemoval(store, reference)
  if (plan.tag === undefined) removeLabel(store, label)
  else
    moveRefs(
      store,
      label,
      { actor, operation: 'remove' },
      new Map([[tagRef(plan.tag), { from: plan.commit ?? null, to: null }]]),
    )
  return plan
}

/** The folder goes to the trash in one step, with HEAD's uncommitted changes, the log and the lock that is held. */
function removeLabel(store: Store, label: Label): void {
  const head = readHead(store, label)
  if (head !== undefined && !isSuperblockGone(store, label, head)) {
    throw new StratumError('in-use', `HEAD of ${label} is still mounted somewhere that is not seen from here`, {
      hint: 'End the processes that use it (another namespace, a lazy unmount)',
    })
  }
  rename(paths.label(store, label), trashPath(store, 'label'))
  syncDirectory(paths.refs(store))
  for (const kind of ['import', 'head'] as const) removeIfExists(paths.hashCache(store, label, kind))
}
