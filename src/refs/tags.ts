import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import {
  listNames,
  makeDirectory,
  readTextIfExists,
  removeIfExists,
  replaceFile,
  syncDirectory,
} from '../host/files.ts'
import { type CommitId, isCommitId } from '../names/commit-id.ts'
import { type Label, labelOfFolder } from '../names/label.ts'
import { isTag, type Tag } from '../names/tag.ts'
import { paths, type Store } from '../store/layout.ts'

/** The commit that a tag names, or undefined. @throws integrity if the file holds something else */
export function readTag(store: Store, label: Label, tag: Tag): CommitId | undefined {
  const text = readTextIfExists(paths.tag(store, label, tag))
  if (text === undefined) return undefined
  const id = text.trim()
  if (isCommitId(id)) return id
  throw new StratumError('integrity', `the tag ${label}:${tag} is damaged: it holds no commit id`, {
    hint: `stratum log ${label} says what it was; stratum tag ${label}:<id> ${tag} --force sets it again`,
  })
}

/** Every tag of a label with its commit, by name. */
export function readTags(store: Store, label: Label): Map<Tag, CommitId> {
  const tags = new Map<Tag, CommitId>()
  for (const name of listNames(paths.tags(store, label)).sort()) {
    if (!isTag(name)) continue
    const id = readTag(store, label, name)
    if (id !== undefined) tags.set(name, id)
  }
  return tags
}

/** Points a tag at a commit, or takes it away. Only `move-refs.ts` calls this: a move has to stand in the log first. */
export function writeTag(store: Store, label: Label, tag: Tag, id: CommitId | null): void {
  if (id !== null) {
    if (makeDirectory(paths.tags(store, label))) syncDirectory(paths.label(store, label))
    replaceFile(paths.tag(store, label, tag), `${id}\n`)
  } else if (removeIfExists(paths.tag(store, label, tag))) syncDirectory(paths.tags(store, label))
}

/** All labels that have anything: a HEAD, a tag or a log. */
export function listLabels(store: Store): Label[] {
  return listNames(paths.refs(store))
    .map(labelOfFolder)
    .filter(label => label !== undefined)
    .filter(label => hasLabel(store, label))
    .sort()
}

export function hasLabel(store: Store, label: Label): boolean {
  try {
    return listNames(paths.label(store, label)).some(name => name === 'head.toml' || name === 'tags' || name === 'log')
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return false // a stray file among the labels
    throw error
  }
}
