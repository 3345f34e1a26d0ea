import { recoverHead } from '../heads/recover-head.ts'
import { statIfExists } from '../host/stat.ts'
import type { Label } from '../names/label.ts'
import type { Reference } from '../names/reference.ts'
import { type HeadRecord, readHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { type Context, lockOptions } from './context.ts'

/**
 * Looks at what references name, while no collection takes it away. Nobody has to wait for a look, and it does not wait for a commit: only
 * where a HEAD got another base in the middle of it, or a fold was cut off, it is made again under the labels' locks.
 */
export async function look<T>(
  context: Context,
  references: readonly Reference[],
  see: () => T | Promise<T>,
): Promise<T> {
  const labels = [...new Set(references.filter(({ kind }) => kind === 'head').map(({ label }) => label))].sort()
  const first = await lookWhileItHolds(context, labels, see)
  return first === undefined ? await lookLocked(context, labels, see) : first.seen
}

/** Undefined if a HEAD did not hold: what was seen may be the base of one generation with the upperdir of another. */
async function lookWhileItHolds<T>(
  context: Context,
  labels: readonly Label[],
  see: () => T | Promise<T>,
): Promise<{ readonly seen: T } | undefined> {
  const { store } = context
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const before = labels.map(label => headNow(store, label))
  const holds = (): boolean => labels.every((label, i) => isSameHead(before[i], headNow(store, label)))
  // A store that can only be read is as it was left: nobody goes on with anything.
  if (!store.readOnly && before.some(({ head }) => head?.state.kind === 'folding')) return undefined
  try {
    const seen = await see()
    return holds() ? { seen } : undefined
  } catch (error) {
    if (holds()) throw error
    return undefined
  }
}

interface HeadNow {
  readonly head: HeadRecord | undefined
  /** Of its upperdir: a HEAD that was removed and made again begins with the same generation. */
  readonly inode: bigint | undefined
}

function headNow(store: Store, label: Label): HeadNow {
  return { head: readHead(store, label), inode: statIfExists(paths.upper(store, label))?.inode }
}

function isSameHead({ head: a, inode }: HeadNow, { head: b, inode: inodeNow }: HeadNow): boolean {
  if (inode !== inodeNow) return false
  return a?.generation === b?.generation && a?.base === b?.base && a?.state.kind === b?.state.kind
}

async function lookLocked<T>(context: Context, labels: readonly Label[], see: () => T | Promise<T>): Promise<T> {
  const { store } = context
  using locks = new DisposableStack()
  for (const label of labels) locks.use(await lockLabel(store, label, lockOptions(context)))
  locks.use(await lockStore(store, 'shared', lockOptions(context)))
  if (!store.readOnly) for (const label of labels) await recoverHead(store, label)
  return await see()
}
