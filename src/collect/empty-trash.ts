import { isErrno } from '../errors/errno.ts'
import { readMark } from '../heads/pair.ts'
import { fileSystemSpace, listNames, removeTree, rename } from '../host/files.ts'
import { isDirectoryMode, statPath } from '../host/stat.ts'
import type { Store } from '../store/layout.ts'
import { lockStore, SWEEP_LIMIT_MS } from '../store/locks.ts'
import { DELETING_KIND, listTrash, SWEEP_KIND, type TrashItem, trashPath } from '../store/trash.ts'
import { diskUsage } from '../store/usage.ts'
import { type Openness, probeImage } from './open-images.ts'
import { probeUpper } from './probe-upper.ts'

/** What was deleted for good. */
export interface Emptied {
  items: number
  /** Bytes on the disk. */
  bytes: number
  /** What is due but stays, by its path, and why. */
  readonly kept: { readonly path: string; readonly openness: Exclude<Openness, 'closed'> }[]
}

export interface EmptyOptions {
  readonly graceSeconds: number
  readonly lockLimitMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Deletes what has been in the trash longer than the grace period, but for what a mount still uses. The items are claimed while nobody
 * else is in the store, so that nobody takes something out of one half, and deleted when the others are back. @throws busy
 */
export async function emptyTrash(store: Store, { graceSeconds, lockLimitMs, signal }: EmptyOptions): Promise<Emptied> {
  const emptied: Emptied = { items: 0, bytes: 0, kept: [] }
  const until = Date.now() - graceSeconds * 1000
  const isDue = ({ kind, since }: TrashItem): boolean => kind !== DELETING_KIND && since <= until
  if (listTrash(store).some(isDue)) {
    using _lock = await lockStore(store, 'exclusive', { limitMs: lockLimitMs ?? SWEEP_LIMIT_MS, signal })
    for (const item of listTrash(store).filter(isDue)) claim(store, item, emptied)
  }
  for (const { kind, path } of listTrash(store)) {
    signal?.throwIfAborted()
    if (kind === DELETING_KIND) remove(path, emptied)
  }
  return emptied
}

function claim(store: Store, item: TrashItem, emptied: Emptied): void {
  const openness = item.kind === SWEEP_KIND ? probeCommits(item) : probePairs(store, item)
  if (openness === 'closed') rename(item.path, trashPath(store, DELETING_KIND))
  else emptied.kept.push({ path: item.path, openness })
}

/** A mount cannot be of a commit that was swept, unless somebody made it past all locks: then it keeps what it shows. */
function probeCommits({ path }: TrashItem): Openness {
  return firstInUse(listNames(`${path}/commits`), id => probeImage(`${path}/commits/${id}/commit.cfs`))
}

/** Old upperdirs and workdirs, of folds and of labels that were removed, lie at most this deep. */
const PAIR_DEPTH = 2

function probePairs(store: Store, item: TrashItem): Openness {
  return firstInUse(markedDirectories(item.path, PAIR_DEPTH), path => probeUpper(store, path))
}

function firstInUse(things: readonly string[], probe: (thing: string) => Openness): Openness {
  for (const thing of things) {
    const openness = probe(thing)
    if (openness !== 'closed') return openness
  }
  return 'closed'
}

function markedDirectories(path: string, depth: number): string[] {
  if (!isDirectoryMode(statPath(path).mode)) return []
  if (readMark(path) !== undefined) return [path]
  if (depth === 0) return []
  return listNames(path).flatMap(name => markedDirectories(`${path}/${name}`, depth - 1))
}

function remove(path: string, emptied: Emptied): void {
  try {
    const { bytes } = diskUsage(path)
    removeTree(path)
    emptied.items++
    emptied.bytes += bytes
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTEMPTY')) throw error // another collector deletes it too
  }
}

const SHORT = 0.05

/** Whether so little is left of the store's file system that the grace period is not kept. */
export function isSpaceShort(store: Store): boolean {
  const { bytes, freeBytes, inodes, freeInodes } = fileSystemSpace(store.path)
  return freeBytes < bytes * SHORT || freeInodes < inodes * SHORT
}
