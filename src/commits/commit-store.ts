import fs from 'node:fs'
import { StratumError } from '../errors/stratum-error.ts'
import { listNames, readTextIfExists } from '../host/files.ts'
import { nodePath } from '../names/text.ts'
import { type CommitId, isCommitId, shortId } from '../names/commit-id.ts'
import { paths, type Store } from '../store/layout.ts'
import { type CommitMetadata, parseMetadata } from './metadata.ts'

export function listCommits(store: Store): CommitId[] {
  return listNames(paths.commits(store)).filter(isCommitId)
}

export function hasCommit(store: Store, id: CommitId): boolean {
  return fs.existsSync(nodePath(paths.metadata(store, id)))
}

/** @throws not-found, integrity */
export function readCommit(store: Store, id: CommitId): CommitMetadata {
  const text = readTextIfExists(paths.metadata(store, id))
  if (text === undefined) throw new StratumError('not-found', `commit ${shortId(id)} is not in the store`)
  return parseMetadata(text, id)
}
