import { hasCommit } from '../commits/commit-store.ts'
import { listNames, readText, TEMPORARY_PREFIX } from '../host/files.ts'
import { isRegularMode, statIfExists } from '../host/stat.ts'
import { type CommitId, isCommitId, shortId } from '../names/commit-id.ts'
import { type Label, labelOfFolder } from '../names/label.ts'
import { isTag, type Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { inspectLog } from '../refs/log.ts'
import { HEAD_REF, tagRef } from '../refs/move-refs.ts'
import { paths, type Store } from '../store/layout.ts'
import { findTrashedCommit } from '../store/trash.ts'
import { checkHead } from './check-head.ts'
import type { Finding, Repair } from './findings.ts'
import { type LabelView, lastInLog } from './label-view.ts'

/** Checks everything of a label but the commits it names. The caller sees to it that nobody changes the label meanwhile. */
export function checkLabel(store: Store, label: Label): Finding[] {
  const { entries, damagedLines } = inspectLog(store, label)
  const view: LabelView = { store, label, entries }
  const { findings: headFindings, lastCommit } = checkHead(view)
  return [
    ...checkLog(label, damagedLines),
    ...listNames(paths.tags(store, label)).flatMap(name => checkTag(view, name)),
    ...headFindings,
    ...checkMoves(view, lastCommit),
    ...checkFolder(view),
  ]
}

function checkLog(label: Label, damagedLines: number): Finding[] {
  if (damagedLines === 0) return []
  const message = `${damagedLines} ${damagedLines === 1 ? 'entry' : 'entries'} cannot be read`
  const repair = { do: 'rewrite-log', label } as const
  return [{ severity: 'damage', kind: 'log-damaged', what: `the log of ${label}`, message, repair }]
}

function checkTag(view: LabelView, name: string): Finding[] {
  const { store, label } = view
  const path = `${paths.tags(store, label)}/${name}`
  if (name.startsWith(TEMPORARY_PREFIX)) return [temporary(path)]
  const id = tagContent(path)
  if (!isTag(name)) return [foreignTag(path, id)]
  if (id === undefined) return [damagedTag(view, name)]
  if (hasCommit(store, id)) return []
  const [from] = findTrashedCommit(store, id)
  const repair: Repair =
    from === undefined ? { do: 'quarantine-tag', label, tag: name, from: id } : { do: 'restore-commit', id, from }
  const message = `commit ${shortId(id)} is not in the store`
  return [{ severity: 'damage', kind: 'tag-dangling', what: `${label}:${name}`, message, repair }]
}

function tagContent(path: string): CommitId | undefined {
  const stat = statIfExists(path)
  if (stat === undefined || !isRegularMode(stat.mode)) return undefined
  const id = readText(path).trim()
  return isCommitId(id) ? id : undefined
}

/** The log is the journal of the refs: what it says last of a tag is what the tag was. */
function damagedTag(view: LabelView, tag: Tag): Finding {
  const { label } = view
  const to = lastInLog(view, tagRef(tag))
  const known = to === undefined ? '' : `; its log says ${shortId(to)}`
  return {
    severity: 'damage',
    kind: 'tag-damaged',
    what: `${label}:${tag}`,
    message: `it holds no commit id${known}`,
    repair: to === undefined ? { do: 'quarantine-tag', label, tag, from: null } : { do: 'write-tag', label, tag, to },
  }
}

/** A name that is no tag keeps its commit all the same; without one it stops every collection, so it has to go. */
function foreignTag(path: string, id: CommitId | undefined): Finding {
  const what = toUser(path)
  if (id === undefined)
    return { severity: 'damage', kind: 'foreign', what, message: 'it is no tag', repair: { do: 'quarantine', path } }
  return { severity: 'note', kind: 'foreign', what, message: `it is no tag; it keeps commit ${shortId(id)}` }
}

/** The last entry of the log says what the next command finishes. */
function checkMoves({ store, label, entries }: LabelView, lastCommit: CommitId | null): Finding[] {
  const last = entries.at(-1)
  const unfinished = Object.entries(last?.refs ?? {}).filter(([ref, { from, to }]) => {
    if (from === to) return false
    if (ref === HEAD_REF) return to !== null && lastCommit !== null && lastCommit === from
    const path = `${paths.label(store, label)}/${ref}`
    return from === null ? statIfExists(path) === undefined : tagContent(path) === from
  })
  if (unfinished.length === 0) return []
  const message = `its last ${last?.operation} did not get to ${unfinished.map(([ref]) => ref).join(', ')}`
  const repair = { do: 'recover-label', label } as const
  return [{ severity: 'leftover', kind: 'unfinished', what: label, message, repair }]
}

const KNOWN = ['lock', 'head.toml', 'head', 'work', 'next-head', 'next-work', 'tags', 'log']

function checkFolder({ store, label }: LabelView): Finding[] {
  const folder = paths.label(store, label)
  const note = (path: string, message: string): Finding => {
    return { severity: 'note', kind: 'foreign', what: toUser(path), message }
  }
  const isLabelFolder = labelOfFolder(folder.slice(folder.lastIndexOf('/') + 1)) !== undefined
  return [
    ...(isLabelFolder ? [] : [note(folder, 'its name is no label; it keeps what its tags name')]),
    ...listNames(folder).flatMap(name => {
      const path = `${folder}/${name}`
      if (name.startsWith(TEMPORARY_PREFIX)) return [temporary(path)]
      return KNOWN.includes(name) ? [] : [note(path, `it is nothing of the label ${label}`)]
    }),
  ]
}

function temporary(path: string): Finding {
  const message = 'it was being written when a command was killed'
  const repair = { do: 'remove-temporary', path } as const
  return { severity: 'leftover', kind: 'leftover', what: toUser(path), message, repair }
}
