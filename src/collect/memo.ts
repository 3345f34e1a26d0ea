import { isErrno } from '../errors/errno.ts'
import { hexOf, sha256 } from '../hashes/sha256.ts'
import { listNames, overwriteFile, readTextIfExists } from '../host/files.ts'
import { statIfExists } from '../host/stat.ts'
import type { CommitId } from '../names/commit-id.ts'
import { OBJECT_FOLDERS, paths, type Store } from '../store/layout.ts'

/**
 * What a collection left behind: these commits, and in the folders of objects nothing that none of them names. As long as a store looks
 * like that, only what its commits lose can be unused, and objects need not be looked for. A memo that is lost, torn, or not true of a
 * copied store costs one thorough look; one that is believed only ever keeps things, for it says where there is nothing to take.
 */
export type Memo = string

/**
 * How the store looks now: its commits, and when something last came into each folder of objects or went. Undefined where something else
 * keeps objects: what is in quarantine may be mended by hand.
 */
export function memoOf(store: Store, commits: readonly CommitId[]): Memo | undefined {
  if (listNames(paths.quarantine(store)).length > 0) return undefined
  const lines = [...commits].sort().map(id => `commit ${id}`)
  return hexOf(sha256(Buffer.from([...lines, folderTimes(store)].join('\n'))))
}

/** The inode and ctime of every folder of objects. */
export function folderTimes(store: Store): string {
  return OBJECT_FOLDERS.map(folder => {
    const stat = statIfExists(`${paths.objects(store)}/${folder}`)
    return `${folder} ${stat?.inode} ${stat?.ctime}`
  }).join('\n')
}

export function isRemembered(store: Store, memo: Memo | undefined): boolean {
  return memo !== undefined && readTextIfExists(paths.collected(store))?.trim() === memo
}

/** The caller is alone in the store. A disk without room for a memo is no reason to fail: it is what collections are for. */
export function remember(store: Store, memo: Memo): void {
  try {
    overwriteFile(paths.collected(store), `${memo}\n`)
  } catch (error) {
    if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error
  }
}
