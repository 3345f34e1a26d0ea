import { StratumError } from '../errors/stratum-error.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { checkTagFor, LATEST, type Tag } from '../names/tag.ts'
import { readHead } from '../refs/head-file.ts'
import type { RefMove } from '../refs/log.ts'
import { HEAD_REF, tagRef } from '../refs/move-refs.ts'
import { readTag, readTags } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'

/** @throws exists if the tag is taken. To be asked before the work is done, and again when it is. */
export function requireFreeTag(store: Store, label: Label, tag: Tag | undefined): void {
  const id = tag === undefined ? undefined : readTag(store, label, tag)
  if (id === undefined) return
  throw new StratumError('exists', `${label}:${tag} exists: it is ${shortId(id)}`, {
    hint: `Take another tag, or move it: stratum tag ${label}:<commit> ${tag} --force`,
  })
}

/**
 * The moves of refs that record a new commit under a tag, or under the automatic tag named by its hash, which keeps a commit until it gets
 * a name (store.md 1).
 */
export function movesForCommit(store: Store, label: Label, id: CommitId, tag: Tag | undefined): Map<string, RefMove> {
  const moves = new Map<string, RefMove>()
  if (tag !== undefined) {
    checkTagFor(tag, id)
    moves.set(tagRef(tag), { from: null, to: id })
    dropAutomaticTag(store, label, id, tag, moves)
  } else if (namedTags(store, label, id).length === 0)
    moves.set(tagRef(automaticTag(id)), { from: readTag(store, label, automaticTag(id)) ?? null, to: id })
  return moves
}

/** The first real name that a commit gets replaces the automatic one. */
export function dropAutomaticTag(
  store: Store,
  label: Label,
  id: CommitId,
  tag: Tag,
  moves: Map<string, RefMove>,
): void {
  const automatic = automaticTag(id)
  if (tag === LATEST || tag === automatic || readTag(store, label, automatic) !== id) return
  moves.set(tagRef(automatic), { from: id, to: null })
}

export function automaticTag(id: CommitId): Tag {
  return id as string as Tag
}

function namedTags(store: Store, label: Label, id: CommitId): Tag[] {
  return [...readTags(store, label)].flatMap(([tag, commit]) =>
    commit === id && tag !== LATEST && tag !== automaticTag(id) ? [tag] : [],
  )
}

/** A tag for a commit, and what becomes of one of that name that exists. */
export interface TagWish {
  readonly name: Tag
  /** Take it along; else it has to be free, or to name the commit already. */
  readonly move: boolean
  /** It has to be free in any case. */
  readonly isNew?: boolean
  /** Where it has to be, if it moves. */
  readonly expected?: CommitId | undefined
}

/**
 * To be asked before the work is done, with the commit that it may turn out to be, and again with the commit that it is.
 * @throws exists (a tag that may not move), conflict (one that is not where it was expected)
 */
export function requireTags(store: Store, label: Label, wishes: readonly TagWish[], commit: CommitId): void {
  for (const { name, move, isNew = false, expected } of wishes) {
    const current = readTag(store, label, name)
    if (!move && (isNew || current !== commit)) requireFreeTag(store, label, name)
    if (expected === undefined || current === expected) continue
    const found = current === undefined ? 'does not exist' : `is ${shortId(current)}`
    throw new StratumError('conflict', `${label}:${name} ${found}, and not ${shortId(expected)}`)
  }
}

/** What a commit of HEAD is kept by. */
export interface HeadCommitRefs {
  readonly tags: readonly TagWish[]
  /** Without tags: whether it gets the automatic one. */
  readonly automaticTag: boolean
  readonly followLatest: boolean
}

/** The moves of a commit of HEAD: the tags, HEAD itself, and `latest` if it was where HEAD was and is to follow. */
export function movesForHeadCommit(
  store: Store,
  label: Label,
  id: CommitId,
  { tags, automaticTag, followLatest }: HeadCommitRefs,
): Map<string, RefMove> {
  const moves =
    tags.length === 0 && automaticTag
      ? movesForCommit(store, label, id, undefined)
      : movesForTags(store, label, id, tags)
  const last = readHead(store, label)?.lastCommit ?? null
  moves.set(HEAD_REF, { from: last, to: id })
  if (followLatest && last !== null && !moves.has(tagRef(LATEST)) && readTag(store, label, LATEST) === last)
    moves.set(tagRef(LATEST), { from: last, to: id })
  return moves
}

/** The moves that give a commit its tags; those that it has stay in the list, as moves to where they are. */
export function movesForTags(store: Store, label: Label, id: CommitId, tags: readonly TagWish[]): Map<string, RefMove> {
  const moves = new Map<string, RefMove>()
  for (const { name } of tags) {
    checkTagFor(name, id)
    moves.set(tagRef(name), { from: readTag(store, label, name) ?? null, to: id })
    dropAutomaticTag(store, label, id, name, moves)
  }
  return moves
}
