import { StratumError } from '../errors/stratum-error.ts'
import { readMark } from '../heads/pair.ts'
import { listNames, readTextIfExists, TEMPORARY_PREFIX } from '../host/files.ts'
import { statIfExists } from '../host/stat.ts'
import { type CommitId, isCommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { readHead } from '../refs/head-file.ts'
import { lastLogEntry } from '../refs/log.ts'
import { HEAD_REF, tagRef } from '../refs/move-refs.ts'
import { hasLabel, listLabelFolders, readListed } from '../refs/tags.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Root } from './root.ts'

/**
 * What the refs of all labels keep: every tag; base and last commit of every HEAD, what a fold leads to and what the upperdirs say of
 * themselves; and what a move that was cut off is going to name. @throws integrity, if anything there cannot be understood
 */
export function refRoots(store: Store): Root[] {
  return labelFolders(store).flatMap(label => rootsOf(store, label))
}

function rootsOf(store: Store, label: Label): Root[] {
  const tags = tagsOf(store, label)
  const roots = unfinishedMoves(store, label, tags)
  for (const [tag, commit] of tags) roots.push({ commit, kind: 'tag', holder: `${label}:${tag}`, label })
  for (const { commit, what } of headCommits(store, label))
    roots.push({ commit, kind: 'head', holder: `${what} of ${label}`, label })
  return roots
}

/** Whether any label is left. */
export function hasLabels(store: Store): boolean {
  return labelFolders(store).some(label => hasLabel(store, label))
}

/**
 * All of them: what is unknown is kept. Labels and tags that are removed while we look are gone: who sweeps reads all this again when
 * nobody else is in the store. @throws integrity, if refs/ itself is gone
 */
function labelFolders(store: Store): Label[] {
  if (statIfExists(paths.refs(store)) === undefined)
    throw new StratumError('integrity', `${toUser(paths.refs(store))} is gone: without it every commit looks unused`, {
      hint: 'Bring it back from a backup. stratum fsck says what else is missing',
    })
  return listLabelFolders(store)
}

/** Every file among the tags, whatever its name is, but for those that were being written when a command was killed. */
function tagsOf(store: Store, label: Label): Map<Tag, CommitId> {
  const folder = paths.tags(store, label)
  return readListed(
    () => listNames(folder).filter(name => !name.startsWith(TEMPORARY_PREFIX)) as Tag[],
    name => {
      const id = readTextIfExists(`${folder}/${name}`)?.trim()
      if (id === undefined || isCommitId(id)) return id
      throw new StratumError('integrity', `${label}:${toUser(name)} holds no commit id`)
    },
  )
}

function headCommits(store: Store, label: Label): { commit: CommitId; what: string }[] {
  const head = readHead(store, label)
  const commits: { commit: CommitId; what: string }[] = []
  if (head !== undefined) {
    commits.push({ commit: head.base, what: 'the base of HEAD' })
    commits.push({ commit: head.lastCommit, what: 'the last commit of HEAD' })
    if (head.state.kind === 'folding') commits.push({ commit: head.state.to, what: 'the coming base of HEAD' })
  }
  for (const path of [paths.upper, paths.work, paths.nextUpper, paths.nextWork]) {
    const mark = readMark(path(store, label))
    if (mark !== undefined && !commits.some(({ commit }) => commit === mark.base))
      commits.push({ commit: mark.base, what: 'an upperdir' })
  }
  return commits
}

/** The last entry of the log may name a commit that no ref names yet: the next command of the label finishes it. */
function unfinishedMoves(store: Store, label: Label, tags: ReadonlyMap<Tag, CommitId>): Root[] {
  const entry = lastLogEntry(store, label)
  return Object.entries(entry?.refs ?? {}).flatMap(([ref, { from, to }]): Root[] => {
    if (to === null || to === from || currentRef(store, label, ref, tags) !== from) return []
    return [{ commit: to, kind: 'move', holder: `an unfinished ${entry?.operation} of ${label}`, label }]
  })
}

function currentRef(store: Store, label: Label, ref: string, tags: ReadonlyMap<Tag, CommitId>): CommitId | null {
  if (ref === HEAD_REF) return readHead(store, label)?.lastCommit ?? null
  for (const [tag, id] of tags) if (tagRef(tag) === ref) return id
  return null
}
