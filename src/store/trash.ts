import { randomBytes } from 'node:crypto'
import { listNames, removeTree } from '../host/files.ts'
import { statIfExists } from '../host/stat.ts'
import { paths, type Store } from './layout.ts'

/** What the sweep takes, and what a command replaces, stays here until its grace period is over. */
export const GRACE_SECONDS = 3600

/** A new name in the trash; `kind` says what it was. */
export function trashPath(store: Store, kind: string): string {
  return `${paths.trash(store)}/${Date.now()}-${kind}-${randomBytes(4).toString('hex')}`
}

/** Names in the trash with the moment since when they are there, in milliseconds. */
export function listTrash(store: Store): { name: string; since: number }[] {
  return listNames(paths.trash(store)).map(name => ({ name, since: sinceOf(store, name) }))
}

/** Deletes what has been there longer than the grace period. Returns the names. */
export function emptyTrash(store: Store, graceSeconds: number): string[] {
  const due = listTrash(store).filter(({ since }) => since <= Date.now() - graceSeconds * 1000)
  for (const { name } of due) removeTree(`${paths.trash(store)}/${name}`)
  return due.map(({ name }) => name)
}

/** The name tells; of a foreign one, its ctime. */
function sinceOf(store: Store, name: string): number {
  const stamp = Number(name.split('-', 1)[0])
  if (Number.isSafeInteger(stamp) && stamp > 0) return stamp
  return Number((statIfExists(`${paths.trash(store)}/${name}`)?.ctime ?? 0n) / 1_000_000n)
}
