import { hasCommit } from '../commits/commit-store.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { closest } from '../names/closest.ts'
import { type CommitId, isCommitId, isCommitPrefix, PREFIX_DIGITS_MIN, shortId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import { LATEST, type Tag } from '../names/tag.ts'
import type { Store } from '../store/layout.ts'
import { noSuchLabel } from '../store/locks.ts'
import { readHead } from './head-file.ts'
import { readLog } from './log.ts'
import { hasLabel, readTag, readTags } from './tags.ts'

/** The commit that somebody meant. */
export interface Resolved {
  readonly label: Label
  readonly id: CommitId
  /** Set if a tag was named. */
  readonly tag: Tag | undefined
}

/** The commit behind `label:tag` or `label:<id or prefix>`; HEAD stands for its last commit. @throws not-found, usage (ambiguous) */
export function resolveCommit(store: Store, reference: Reference): Resolved {
  const { label } = reference
  requireLabel(store, label)
  if (reference.kind === 'head') {
    const id = currentCommit(store, label)
    if (id === undefined)
      throw new StratumError('not-found', `${label} has no commit yet`, { hint: `stratum commit ${label} makes one` })
    return { label, id, tag: undefined }
  }
  const tagged = readTag(store, label, reference.name)
  if (tagged !== undefined) return { label, id: tagged, tag: reference.name }
  return { label, id: resolvePrefix(store, reference), tag: undefined }
}

function resolvePrefix(store: Store, reference: Extract<Reference, { kind: 'name' }>): CommitId {
  const { label, name } = reference
  const matches = isCommitPrefix(name) ? commitsOf(store, label).filter(id => id.startsWith(name)) : []
  if (matches.length === 1) return matches[0]
  const shown = formatReference(reference)
  if (matches.length > 1) {
    throw new StratumError('usage', `${shown} could be ${matches.length} commits: ${matches.map(shortId).join(', ')}`, {
      hint: 'Write more digits of the one that is meant',
      details: { candidates: matches },
    })
  }
  throw new StratumError('not-found', `${shown} does not exist`, { hint: hintFor(store, label, name) })
}

const TAGS_SHOWN = 8

/** The tags that there are, or why a prefix was not even looked up. */
function hintFor(store: Store, label: Label, name: Tag): string {
  if (/^[0-9a-f]+$/.test(name) && name.length < PREFIX_DIGITS_MIN)
    return `A commit is named by ${PREFIX_DIGITS_MIN} or more digits of its id`
  const tags = [...readTags(store, label).keys()].filter(tag => !isCommitId(tag))
  if (tags.length === 0) return `${label} has no tags; stratum log ${label} shows its commits`
  const meant = tags.length > TAGS_SHOWN ? closest(name, tags) : undefined
  const suggestion = meant === undefined ? '' : `Did you mean ${label}:${meant}? `
  return `${suggestion}${label} has ${tags.slice(0, TAGS_SHOWN).join(', ')}${tags.length > TAGS_SHOWN ? `, … (stratum list ${label})` : ''}`
}

/** Every commit that a label's tags, HEAD or log name and that is in the store: labels are a border between tenants. */
export function commitsOf(store: Store, label: Label): CommitId[] {
  const head = readHead(store, label)
  const ids = new Set<CommitId>(readTags(store, label).values())
  if (head !== undefined) ids.add(head.base).add(head.lastCommit)
  for (const { refs } of readLog(store, label)) for (const { to } of Object.values(refs)) if (to !== null) ids.add(to)
  return [...ids].filter(id => hasCommit(store, id))
}

/** The label's newest state that is a commit: HEAD's last, else `latest`, else the newest in the log. */
export function currentCommit(store: Store, label: Label): CommitId | undefined {
  return readHead(store, label)?.lastCommit ?? newestCommit(store, label)
}

/** What a new HEAD is based on: `latest`, else the newest commit in the log that is still there. */
export function newestCommit(store: Store, label: Label): CommitId | undefined {
  const latest = readTag(store, label, LATEST)
  if (latest !== undefined) return latest
  for (const { refs } of readLog(store, label).reverse()) {
    for (const { to } of Object.values(refs)) if (to !== null && hasCommit(store, to)) return to
  }
  return undefined
}

/** @throws not-found */
export function requireLabel(store: Store, label: Label): void {
  if (!hasLabel(store, label)) throw noSuchLabel(label)
}
