import type { Xattr } from '../erofs/xattrs.ts'
import { isErrno } from '../errors/errno.ts'
import { close, openFileAt } from '../host/descriptors.ts'
import { hasNoWriter } from '../host/locks.ts'
import { isRegularMode, type Stat, sameState, statDescriptor } from '../host/stat.ts'
import { xattrsOfDescriptor } from '../host/xattrs.ts'
import type { StagedObjects } from '../objects/staged-objects.ts'
import type { Content } from '../tree/entry.ts'
import { storeContent } from './store-content.ts'

/** A regular file as it was read. */
export interface FileReading {
  readonly stat: Stat
  readonly xattrs: readonly Xattr[]
  readonly content: Content
  /** It held still: the bytes are those of one moment, as far as anybody can tell from outside. */
  readonly stable: boolean
  /** Nobody had it open for writing or mapped when reading began: its key may stand for its bytes. */
  readonly quiet: boolean
}

const TRIES = 4

/**
 * Reads and stores a regular file that others may be writing. Undefined where the name is gone or is no regular file (any more).
 * A file that somebody holds open for writing counts as still when two readings give the same bytes.
 */
export function readFile(objects: StagedObjects, directory: number, name: string): FileReading | undefined {
  let file: number
  try {
    file = openFileAt(directory, name)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP', 'ENXIO', 'ENODEV')) return undefined
    throw error
  }
  try {
    return isRegularMode(statDescriptor(file).mode) ? readUntilStill(objects, file) : undefined
  } finally {
    close(file)
  }
}

function readUntilStill(objects: StagedObjects, file: number): FileReading {
  let last: FileReading | undefined
  for (let tries = 1; ; tries++) {
    const quiet = hasNoWriter(file)
    const before = statDescriptor(file)
    const xattrs = xattrsOfDescriptor(file)
    const content = storeContent(objects, file, before.size)
    const after = statDescriptor(file)
    const still = sameState(before, after) && content.size === after.size
    const stable =
      still && (quiet || (last !== undefined && sameState(last.stat, after) && sameContent(last.content, content)))
    last = { stat: after, xattrs, content, stable, quiet: still && quiet }
    if (stable || tries === TRIES) return last
  }
}

function sameContent(a: Content, b: Content): boolean {
  return a.size === b.size && a.digest === b.digest && a.data === b.data
}
