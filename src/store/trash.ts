import type { Digest } from '../hashes/verity.ts'
import { exists, listNames } from '../host/files.ts'
import { statIfExists } from '../host/stat.ts'
import { randomHex } from '../host/random.ts'
import type { CommitId } from '../names/commit-id.ts'
import { paths, type Store } from './layout.ts'

/**
 * What the sweep takes, and what a command replaces, stays here until its grace period is over. `collect/empty-trash.ts` deletes it then:
 * an upperdir in it may belong to a mount that still lives.
 */
export const GRACE_SECONDS = 3600

export interface TrashItem {
  readonly name: string
  readonly path: string
  /** What it was: `sweep`, `fold`, … */
  readonly kind: string
  /** Since when it is there, in milliseconds since the epoch. */
  readonly since: number
}

/** What a sweep took: `commits/<id>` and `objects/<64 digits>` inside. */
export const SWEEP_KIND = 'sweep'
/** What is being deleted; nobody takes anything out of it any more. */
export const DELETING_KIND = 'deleting'

/** A new name in the trash; `kind` says what it was. */
export function trashPath(store: Store, kind: string): string {
  return `${paths.trash(store)}/${Date.now()}-${kind}-${randomHex(4)}`
}

/** Oldest first. */
export function listTrash(store: Store): TrashItem[] {
  return listNames(paths.trash(store))
    .map(name => itemOf(store, name))
    .sort((a, b) => a.since - b.since)
}

export function trashedCommit(item: Pick<TrashItem, 'path'>, id: CommitId): string {
  return `${item.path}/commits/${id}`
}

export function trashedObject(item: Pick<TrashItem, 'path'>, digest: Digest): string {
  return `${item.path}/objects/${digest}`
}

/** Where the trash has a commit, the newest place first. */
export function findTrashedCommit(store: Store, id: CommitId): string[] {
  return sweeps(store)
    .map(item => trashedCommit(item, id))
    .filter(exists)
}

/** Where the trash has an object, the newest place first. */
export function findTrashedObject(store: Store, digest: Digest): string[] {
  return sweeps(store)
    .map(item => trashedObject(item, digest))
    .filter(exists)
}

function sweeps(store: Store): TrashItem[] {
  return listTrash(store)
    .filter(({ kind }) => kind === SWEEP_KIND)
    .reverse()
}

const ITEM = /^(\d{1,15})-(.+)-[0-9a-f]{8}$/

/** The name tells since when; of a foreign one, its ctime. */
function itemOf(store: Store, name: string): TrashItem {
  const path = `${paths.trash(store)}/${name}`
  const [, stamp, kind] = ITEM.exec(name) ?? []
  if (stamp !== undefined) return { name, path, kind, since: Number(stamp) }
  return { name, path, kind: '', since: Number((statIfExists(path)?.ctime ?? 0n) / 1_000_000n) }
}
