import { setImmediate as nextTurn } from 'node:timers/promises'
import { openCommitImage } from '../commits/open-image.ts'
import type { Image } from '../erofs/arena.ts'
import { eachObjectFile } from '../erofs/digests.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { createDigestTable } from '../hashes/digest-table.ts'
import type { Digest } from '../hashes/verity.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { findTrashedCommit } from '../store/trash.ts'
import { checkCommit, type CheckedCommit } from './check-commit.ts'
import { createExpectedObjects, type ExpectedObjects } from './expected-objects.ts'
import type { Finding } from './findings.ts'

export interface CommitsOptions {
  readonly signal?: AbortSignal | undefined
  readonly onCommit?: (() => void) | undefined
}

/** Checks commits; `expected` gets the objects of those whose image is sound. */
export async function checkCommits(
  store: Store,
  ids: Iterable<CommitId>,
  expected: ExpectedObjects,
  { signal, onCommit }: CommitsOptions = {},
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const id of ids) {
    const { findings: found, isSound } = checkOne(id, paths.commit(store, id), expected)
    for (const finding of found) findings.push(isSound ? finding : withRemedy(store, id, finding, expected))
    onCommit?.()
    await nextTurn()
    signal?.throwIfAborted()
  }
  return findings
}

/** Whether a commit in the trash can be brought back; `expected` gets its objects then. */
export function checkTrashedCommit(id: CommitId, path: string, expected: ExpectedObjects): boolean {
  return checkOne(id, path, expected).isSound
}

function checkOne(id: CommitId, path: string, expected: ExpectedObjects): CheckedCommit {
  const own = createExpectedObjects()
  const checked = checkCommit(id, path, own.add)
  if (checked.isSound) for (const { digest, size } of own.all()) expected.add(digest, size)
  return checked
}

function withRemedy(store: Store, id: CommitId, finding: Finding, expected: ExpectedObjects): Finding {
  const from = findTrashedCommit(store, id).find(path => checkTrashedCommit(id, path, expected))
  return from === undefined
    ? { ...finding, repair: { do: 'quarantine-commit', id } }
    : { ...finding, repair: { do: 'restore-commit', id, from } }
}

/** So many files are named for one object. */
const FILES_MAX = 20

/** Which files have which of these objects: `app:v1 /bin/tool`. */
export function affectedFiles(
  store: Store,
  ids: Iterable<CommitId>,
  digests: Iterable<Digest>,
  nameOf: (id: CommitId) => string | undefined,
): Map<Digest, string[]> {
  const wanted = createDigestTable()
  for (const digest of digests) wanted.addDigest(digest)
  const affected = new Map<Digest, string[]>()
  if (wanted.size === 0) return affected
  for (const id of ids) {
    const image = openUnlessDamaged(store, id)
    if (image === undefined) continue
    eachObjectFile(image, ({ path, words, word }) => {
      const number = wanted.find(words, word)
      if (number < 0) return
      const digest = wanted.digest(number)
      const files = affected.get(digest) ?? []
      if (files.length < FILES_MAX) affected.set(digest, [...files, `${nameOf(id) ?? shortId(id)} /${toUser(path)}`])
    })
  }
  return affected
}

function openUnlessDamaged(store: Store, id: CommitId): Image | undefined {
  try {
    return openCommitImage(store, id, 0)
  } catch (error) {
    if (isStratumError(error, 'integrity') || isStratumError(error, 'not-found')) return undefined
    throw error
  }
}
