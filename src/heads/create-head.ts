import { openImageRoot } from '../commits/open-image.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { exists, listNames, makeDirectory, rename } from '../host/files.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, noChanges, writeHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { trashPath } from '../store/trash.ts'
import { createPair, syncPair } from './create-pair.ts'

/** Gives a label a HEAD on this base. head.toml comes last: without it there is none. The caller holds the label's lock. */
export function createHead(store: Store, label: Label, base: CommitId): HeadRecord {
  clearHalfMade(store, label)
  makeDirectory(paths.label(store, label))
  const [upper, work] = [paths.upper(store, label), paths.work(store, label)]
  createPair(upper, work, { mark: { base, generation: 1 }, base: openImageRoot(store, base) })
  const head: HeadRecord = {
    base,
    lastCommit: base,
    generation: 1,
    state: { kind: 'clean' },
    still: undefined,
    bootId: '',
    changes: noChanges(),
  }
  writeHead(store, label, head, () => syncPair(upper, work))
  return head
}

/**
 * Removes what a creation that was cut off left: empty directories without head.toml. Anything else there was somebody's data and is not
 * touched. The caller holds the label's lock. @throws integrity
 */
export function clearHalfMade(store: Store, label: Label): void {
  const halves = [paths.upper(store, label), paths.work(store, label)].filter(exists)
  if (halves.some(path => listNames(path).length > 0)) {
    throw new StratumError(
      'integrity',
      `${label} has an upperdir that was used but no head.toml. Nothing was changed`,
      {
        hint: 'stratum fsck --repair writes it anew from what the upperdir says of itself',
      },
    )
  }
  for (const path of halves) rename(path, trashPath(store, 'half-made'))
}
