import { isErrno } from '../errors/errno.ts'
import { exchangeAt, renameNewAt, unlinkAt } from '../host/descriptors.ts'
import { type Stat, sameMtime, statAt } from '../host/stat.ts'
import { randomHex } from '../host/random.ts'

/** A name for what is not in its place yet. */
export function temporaryName(): string {
  return `.stratum-${randomHex(6)}`
}

/**
 * Puts a file in the place of another one, unless that was changed: it is looked at before, and again when it is out of everybody's way.
 * The temporary name is gone afterwards, but where somebody used the very moment to put a newer file in its place. Returns whether it was done.
 */
export function replaceUnchanged(
  directory: number,
  temporary: string,
  name: string,
  isUnchanged: (stat: Stat) => boolean,
): boolean {
  const own = statAt(directory, temporary).inode
  const before = statIfThere(directory, name)
  const isDone =
    before !== undefined &&
    isUnchanged(before) &&
    unlessChanged(() => {
      exchangeAt(directory, temporary, name)
      if (isSameFile(before, statAt(directory, temporary))) return true
      exchangeAt(directory, temporary, name)
      return false
    })
  if (isDone || statIfThere(directory, temporary)?.inode === own) unlinkAt(directory, temporary)
  return isDone ?? false
}

/** Removes a file, unless it was changed; likewise. What is gone already is removed. */
export function removeUnchanged(directory: number, name: string, isUnchanged: (stat: Stat) => boolean): boolean {
  const before = statIfThere(directory, name)
  if (before === undefined) return true
  const temporary = temporaryName()
  const isDone =
    isUnchanged(before) &&
    unlessChanged(() => {
      renameNewAt(directory, name, directory, temporary)
      if (isSameFile(before, statAt(directory, temporary))) return true
      renameNewAt(directory, temporary, directory, name)
      return false
    })
  if (isDone) unlinkAt(directory, temporary)
  return isDone ?? false
}

/** Renaming moves a file's ctime, so that is not asked. */
function isSameFile(a: Stat, b: Stat): boolean {
  return a.inode === b.inode && a.size === b.size && a.mode === b.mode && sameMtime(a, b)
}

export function statIfThere(directory: number, name: string): Stat | undefined {
  return unlessChanged(() => statAt(directory, name))
}

/** Undefined where a name is gone, taken, a mountpoint or of another type than it was. */
export function unlessChanged<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY', 'ELOOP', 'EBUSY')) return undefined
    throw error
  }
}
