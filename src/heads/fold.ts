import { openImageRoot } from '../commits/commit-store.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { bootId } from '../host/boot.ts'
import { exchange } from '../host/descriptors.ts'
import { exists, makeDirectory, nameOf, rename, syncDirectory } from '../host/files.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, noChanges, writeHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { trashPath } from '../store/trash.ts'
import { createPair, isSameMark, type PairMark, readMark, syncPair } from './pair.ts'
import { mayBeMounted } from './unclean.ts'

/**
 * Puts a new base with an empty upperdir below HEAD, whose superblock is gone. The two exchanges are one step for whoever looks later:
 * head.toml says first what is coming, and recovery always finishes it (docs/head.md 6; killed at each step and again in recovery).
 */
export function foldHead(store: Store, label: Label, head: HeadRecord, to: CommitId, lastCommit = to): HeadRecord {
  prepareNext(store, label, head, to)
  return finishFold(store, label, beginFold(store, label, { ...head, bootId: '' }, to, lastCommit))
}

/** Makes the new pair, durable, beside the old one. */
export function prepareNext(store: Store, label: Label, head: HeadRecord, to: CommitId): PairMark {
  discardNext(store, label)
  const mark: PairMark = { base: to, generation: head.generation + 1 }
  const [upper, work] = [paths.nextUpper(store, label), paths.nextWork(store, label)]
  createPair(upper, work, { mark, base: openImageRoot(store, to) })
  syncPair(upper, work)
  return mark
}

/** The decision: from here on the fold is always finished. */
export function beginFold(
  store: Store,
  label: Label,
  head: HeadRecord,
  to: CommitId,
  lastCommit: CommitId,
): HeadRecord {
  const folding: HeadRecord = { ...head, lastCommit, state: { kind: 'folding', to, toGeneration: head.generation + 1 } }
  writeHead(store, label, folding)
  return folding
}

/** Carries a fold to its end from wherever it was cut off. @throws integrity where head/ and work/ are neither the old nor the new ones */
export function finishFold(store: Store, label: Label, head: HeadRecord): HeadRecord {
  if (head.state.kind !== 'folding') return head
  const { to, toGeneration } = head.state
  const before: PairMark = { base: head.base, generation: head.generation }
  const after: PairMark = { base: to, generation: toGeneration }
  exchangeUnlessDone(label, [paths.upper(store, label), paths.nextUpper(store, label)], before, after)
  exchangeUnlessDone(label, [paths.work(store, label), paths.nextWork(store, label)], before, after)
  syncDirectory(paths.label(store, label))
  const folded: HeadRecord = {
    ...head,
    base: to,
    generation: toGeneration,
    state: { kind: 'clean' },
    still: undefined,
    // It may be mounted by now: only who has seen that its superblock is gone may say that it came back in order.
    bootId: mayBeMounted(head) ? bootId() : '',
    uncleanBefore: [],
    changes: noChanges(),
  }
  writeHead(store, label, folded)
  discardNext(store, label)
  return folded
}

function exchangeUnlessDone(label: Label, [current, next]: [string, string], before: PairMark, after: PairMark): void {
  const [mark, nextMark] = [readMark(current), readMark(next)]
  if (isSameMark(mark, after) && isSameMark(nextMark, before)) return
  if (isSameMark(mark, before) && isSameMark(nextMark, after)) return exchange(current, next)
  throw new StratumError(
    'integrity',
    `${nameOf(current)}/ of ${label} is neither the old nor the new one of the fold that head.toml describes. Nothing was changed`,
    {
      hint: `stratum fsck shows what head/, work/, next-head/ and next-work/ say of themselves`,
    },
  )
}

/** What a fold left behind: nothing refers to it once head.toml says that HEAD is clean. */
export function discardNext(store: Store, label: Label): void {
  const halves = [
    [paths.nextUpper(store, label), 'head'],
    [paths.nextWork(store, label), 'work'],
  ].filter(([path]) => exists(path))
  if (halves.length === 0) return
  const trash = trashPath(store, 'fold')
  makeDirectory(trash, 0o700)
  for (const [path, name] of halves) rename(path, `${trash}/${name}`)
}
