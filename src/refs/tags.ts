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
import { isDirectoryAt } from '../host/stat.ts'
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
  return readListed(
    () => listNames(paths.tags(store, label)).filter(isTag).sort(),
    tag => readTag(store, label, tag),
  )
}

const LISTINGS_MAX = 100

/**
 * What there is under each name of a list. A tag that is renamed has its new name before it loses the old one: where one of the list is
 * gone when its turn comes, the names are listed again, or a look could miss both.
 */
export function readListed<Name, Value>(
  list: () => readonly Name[],
  read: (name: Name) => Value | undefined,
): Map<Name, Value> {
  for (let listings = 1; ; listings++) {
    const found = new Map<Name, Value>()
    const names = list()
    for (const name of names) {
      const value = read(name)
      if (value !== undefined) found.set(name, value)
    }
    if (found.size === names.length || listings === LISTINGS_MAX) return found
  }
}

/** Points a tag at a commit, or takes it away. Only `move-refs.ts` calls this: a move has to stand in the log first. */
export function writeTag(store: Store, label: Label, tag: Tag, id: CommitId | null): void {
  if (id !== null) {
    if (makeDirectory(paths.tags(store, label))) syncDirectory(paths.label(store, label))
    replaceFile(paths.tag(store, label, tag), `${id}\n`)
  } else if (removeIfExists(paths.tag(store, label, tag))) syncDirectory(paths.tags(store, label))
}

/** Every folder among the labels, for who must not pass over anything: one whose name is no label is looked at as if it were one. */
export function listLabelFolders(store: Store): Label[] {
  return listNames(paths.refs(store))
    .filter(name => isDirectoryAt(`${paths.refs(store)}/${name}`))
    .map(name => labelOfFolder(name) ?? (name as Label))
    .sort()
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
