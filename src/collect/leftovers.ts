import { isErrno } from '../errors/errno.ts'
import { close, openDirectory, openLockFileAt } from '../host/descriptors.ts'
import { listNames, removeEmptyDirectory, removeIfExists, TEMPORARY_PREFIX } from '../host/files.ts'
import { tryLock } from '../host/locks.ts'
import { isDirectoryMode, statPath } from '../host/stat.ts'
import { paths, type Store } from '../store/layout.ts'
import { clearStaleStaging } from '../store/staging.ts'

/**
 * Clears away what killed commands left half made: staging without an owner, files that were being written, folders of labels that never
 * became one. The caller holds the store's lock exclusively. Returns how many there were.
 */
export function clearLeftovers(store: Store): number {
  const folders = [store.path, paths.refs(store), paths.commits(store)]
  let cleared = clearStaleStaging(store)
  for (const name of listNames(paths.refs(store))) {
    const folder = `${paths.refs(store)}/${name}`
    if (!isDirectoryMode(statPath(folder).mode)) continue
    if (clearEmptyLabel(folder)) cleared++
    else folders.push(folder, `${folder}/tags`)
  }
  return folders.reduce((sum, folder) => sum + clearTemporaries(folder), cleared)
}

function clearTemporaries(folder: string): number {
  const names = listNames(folder).filter(name => name.startsWith(TEMPORARY_PREFIX))
  return names.filter(name => removeIfExists(`${folder}/${name}`)).length
}

/** The lock is made before anything else of a label. Who waits for it finds out that it is gone and makes the folder anew. */
function clearEmptyLabel(folder: string): boolean {
  const names = listNames(folder)
  if (names.some(name => name !== 'lock')) return false
  if (names.length === 0) return removeEmptyDirectory(folder)
  const lock = openLock(folder)
  if (lock === undefined) return false
  try {
    if (!tryLock(lock, 'exclusive')) return false
    removeIfExists(`${folder}/lock`)
    return removeEmptyDirectory(folder)
  } finally {
    close(lock)
  }
}

function openLock(folder: string): number | undefined {
  const directory = openDirectory(folder)
  try {
    return openLockFileAt(directory, 'lock')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  } finally {
    close(directory)
  }
}
