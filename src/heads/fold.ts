import { openImageRoot } from '../commits/open-image.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, writeHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { createPair, syncPair } from './create-pair.ts'
import { discardNext, finishFold } from './finish-fold.ts'
import type { PairMark } from './pair.ts'

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
