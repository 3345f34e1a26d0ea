import { StratumError } from '../errors/stratum-error.ts'
import { bootId } from '../host/boot.ts'
import { exchange } from '../host/descriptors.ts'
import { exists, makeDirectory, nameOf, rename, syncDirectory } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, noChanges, writeHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { trashPath } from '../store/trash.ts'
import { isSameMark, type PairMark, readMark } from './pair.ts'
import { mayBeMounted } from './unclean.ts'

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
