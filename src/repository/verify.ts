import { affectedFiles, checkCommits } from '../check/check-commits.ts'
import { checkExpected, objectFindings } from '../check/check-objects.ts'
import { createExpectedObjects } from '../check/expected-objects.ts'
import type { Finding } from '../check/findings.ts'
import { listCommits } from '../commits/commit-store.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { readHead } from '../refs/head-file.ts'
import { requireLabel, resolveCommit } from '../refs/resolve.ts'
import { listLabels, readTags } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'
import { lockStore } from '../store/locks.ts'
import { type Context, lockOptions } from './context.ts'

export interface VerifyRequest {
  /** A commit; a label for all that its tags and HEAD name; undefined for every commit of the store. */
  readonly reference: Reference | undefined
  /** Do not read objects: only whether they are there with the right size. */
  readonly quick: boolean
}

export interface VerifyResult {
  readonly findings: readonly Finding[]
  readonly commits: readonly CommitId[]
  readonly objects: number
  /** Bytes of the objects. */
  readonly bytes: number
}

/** Recomputes everything that commits say of themselves. Changes nothing. @throws not-found */
export async function verifyCommits(context: Context, { reference, quick }: VerifyRequest): Promise<VerifyResult> {
  const { store, signal, onProgress } = context
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const commits = reference === undefined ? listCommits(store) : commitsMeant(store, reference)
  const expected = createExpectedObjects()
  const onCommit = (): void => onProgress?.({ stage: 'checking images', files: expected.table.size, bytes: 0 })
  const findings = await checkCommits(store, commits, expected, { signal, onCommit })
  const problems = await checkExpected(store, expected, {
    quick,
    signal,
    onProgress: (files, bytes) => onProgress?.({ stage: 'checking objects', files, bytes }),
  })
  const affected = affectedFiles(store, commits, problems.keys(), namesOfCommits(store))
  return {
    findings: [...findings, ...objectFindings(store, problems, affected)],
    commits,
    objects: expected.table.size,
    bytes: expected.sizes.reduce((sum, size) => sum + size, 0),
  }
}

function commitsMeant(store: Store, reference: Reference): CommitId[] {
  if (reference.kind === 'name') return [resolveCommit(store, reference).id]
  requireLabel(store, reference.label)
  const head = readHead(store, reference.label)
  const ids = new Set(readTags(store, reference.label).values())
  if (head !== undefined) ids.add(head.base).add(head.lastCommit)
  return [...ids]
}

/** A name for each commit that a tag names, as far as the tags can be read. */
export function namesOfCommits(store: Store): (id: CommitId) => string | undefined {
  const names = new Map<CommitId, string>()
  for (const label of listLabels(store)) {
    for (const [name, id] of readableTags(store, label))
      names.set(id, names.get(id) ?? formatReference({ label, kind: 'name', name }))
  }
  return id => names.get(id)
}

/** A damaged tag is a finding of its own. */
function readableTags(store: Store, label: Label): ReadonlyMap<Tag, CommitId> {
  try {
    return readTags(store, label)
  } catch (error) {
    if (isStratumError(error, 'integrity')) return new Map()
    throw error
  }
}
