import { bootId } from '../host/boot.ts'
import { removeTemporaries } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, readHead, writeHead } from '../refs/head-file.ts'
import { finishMoves } from '../refs/move-refs.ts'
import { paths, type Store } from '../store/layout.ts'
import { discardNext, finishFold } from './finish-fold.ts'
import { headMounts } from './head-mounts.ts'

/**
 * Brings a label back into order after whatever cut the last command off: writers that stand still go on first of all, then moves of refs
 * are finished, then a fold. The caller holds the label's lock. Undefined if the label has no HEAD. Most often nothing was cut off: what
 * stops writers and replaces mounts is loaded only if it is needed.
 */
export async function recoverHead(store: Store, label: Label): Promise<HeadRecord | undefined> {
  if (readHead(store, label)?.still !== undefined) (await import('./freeze.ts')).thawHead(store, label)
  removeHalfWritten(store, label)
  finishMoves(store, label)
  const head = readHead(store, label)
  if (head === undefined) return undefined
  if (head.state.kind === 'folding') return finishRemount(store, label, finishFold(store, label, head))
  discardNext(store, label)
  return finishRemount(store, label, head)
}

function removeHalfWritten(store: Store, label: Label): void {
  removeTemporaries(paths.label(store, label))
  removeTemporaries(paths.tags(store, label))
  const caches = paths.hashCaches(store)
  removeTemporaries(caches, name =>
    (['head', 'import'] as const).some(kind => paths.hashCache(store, label, kind) === `${caches}/${name}`),
  )
}

/**
 * A fold that was cut off while HEAD was mounted: the old superblock is read-only since before the decision, so the new one holds all
 * that was ever written. It takes the old one's place.
 */
async function finishRemount(store: Store, label: Label, head: HeadRecord): Promise<HeadRecord> {
  const mounts = headMounts(store, label)
  if (mounts.length === 0) return head
  const recovered: HeadRecord = { ...head, bootId: head.bootId || bootId() }
  if (head.bootId === '') writeHead(store, label, recovered)
  const stale = mounts.filter(({ generation }) => generation !== head.generation)
  if (stale.length === 0) return recovered
  const { replaceStale } = await import('./replace-stale.ts')
  for (const old of stale) await replaceStale(store, label, head, old)
  return recovered
}
