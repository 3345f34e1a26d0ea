import type { Xattr } from '../erofs/xattrs.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { NAME_BYTES_MAX } from '../erofs/format.ts'
import { isDirectory } from '../tree/append.ts'
import { type Change, childChange, type Entry, PLAIN_DIRECTORY } from '../tree/entry.ts'
import { inside, malformed, shown } from './errors.ts'

/**
 * Puts the members of an archive together to a tree. Nothing is ever written to a path, so a name can lead nowhere but to a place in
 * the tree. Of two members with one name the last one counts, as when tar unpacks; a directory keeps what is in it.
 */
export interface TreeBuilder {
  /** Without an entry: a directory that only its children speak of. */
  readonly tree: Change
  /** @throws malformed, unsupported */
  put(name: string, entry: Entry): void
  /** Another name for the file at `target`. @throws malformed where there is none yet, or a directory */
  link(name: string, target: string): void
}

/** What the names of an archive may cost, so that a small one cannot use up the machine. */
export interface Budget {
  /** Counts one more name with so many bytes. @throws unsupported when it is too much */
  charge(bytes: number): void
}

/** Deeper trees are refused: whatever walks a tree later calls itself for each level. */
const LEVELS_MAX = 2048
const MEMORY_BYTES_MAX = 2 ** 31
/** Roughly what a name takes in memory until it is in an image. */
const MEMORY_BYTES_A_NAME = 400

export function createBudget(): Budget {
  let memory = 0
  return {
    charge(bytes) {
      memory += MEMORY_BYTES_A_NAME + bytes
      if (memory <= MEMORY_BYTES_MAX) return
      throw new StratumError(
        'unsupported',
        `the archive has more names and attributes than ${MEMORY_BYTES_MAX / 2 ** 20} MiB of memory hold`,
      )
    },
  }
}

/** `beneath` is what a hard link may lead to besides: the tree of the layers below, or undefined. */
export function createTreeBuilder({ charge }: Budget, beneath: Change | undefined): TreeBuilder {
  const tree: Change = { children: new Map() }
  const directoryOf = (parts: readonly string[]): Change => {
    let at = tree
    for (const [i, part] of parts.slice(0, -1).entries()) {
      if (at.children?.has(part) !== true) charge(part.length)
      at = childChange(at, part)
      if (at.entry && !isDirectory(at.entry.mode))
        throw malformed(
          `${shown(parts.slice(0, i + 1).join('/'))} is ${kindOf(at.entry)} in this archive, not a directory`,
        )
    }
    return at
  }
  const put = (path: string, entry: Entry): void => {
    const parts = splitName(path)
    const name = parts.at(-1)
    if (name === undefined) {
      if (!isDirectory(entry.mode)) throw malformed('it has no name')
      tree.entry = entry
      return
    }
    const directory = directoryOf(parts)
    charge(path.length + entry.data.length + sizeOf(entry.xattrs)) // a part of a path keeps all of it in memory
    const before = directory.children?.get(name)
    const staysDirectory =
      before !== undefined && isDirectory(entry.mode) && !(before.entry && !isDirectory(before.entry.mode))
    if (staysDirectory) before.entry = entry
    else childrenOf(directory).set(name, { entry })
  }
  return {
    tree,
    put,
    link(name, target) {
      const parts = splitTarget(target)
      const found = find(tree, parts) ?? (beneath === undefined ? undefined : find(beneath, parts))
      if (!found?.entry) throw malformed(`it is a hard link to ${shown(target)}, which is not in the archive before it`)
      if (isDirectory(found.entry.mode)) throw malformed(`it is a hard link to ${shown(target)}, which is a directory`)
      if (!found.entry.linked) found.entry = { ...found.entry, linked: true }
      put(name, found.entry)
    },
  }
}

function sizeOf(xattrs: readonly Xattr[]): number {
  return xattrs.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
}

/** The parts of a name below the root. Slashes in front, behind and doubled mean nothing, a dot neither. @throws malformed */
export function splitName(name: string): string[] {
  const parts = name.split('/').filter(part => part !== '' && part !== '.')
  if (parts.includes('..')) throw malformed('it leads out of its directory with ".."')
  if (parts.length > LEVELS_MAX) throw malformed(`its name has ${parts.length} levels; at most ${LEVELS_MAX} are read`)
  const long = parts.find(part => part.length > NAME_BYTES_MAX)
  if (long !== undefined)
    throw malformed(`a part of its name has ${long.length} bytes; a name can have ${NAME_BYTES_MAX}`)
  return parts
}

function splitTarget(target: string): string[] {
  try {
    return splitName(target)
  } catch (error) {
    throw inside(error, `it is a hard link to ${shown(target)}`)
  }
}

export function find(tree: Change, parts: readonly string[]): Change | undefined {
  let at: Change | undefined = tree
  for (const part of parts) at = at?.children?.get(part)
  return at
}

export function childrenOf(directory: Change): Map<string, Change> {
  return (directory.children ??= new Map())
}

/** Gives every directory without an entry one: root's, open to read, of the year 1970. */
export function fillMissing(change: Change): void {
  change.entry ??= PLAIN_DIRECTORY
  for (const child of change.children?.values() ?? []) fillMissing(child)
}

const KINDS: Readonly<Record<number, string>> = {
  1: 'a fifo',
  2: 'a character device',
  6: 'a block device',
  8: 'a file',
  10: 'a symlink',
}

export function kindOf({ mode }: Entry): string {
  return KINDS[mode >> 12] ?? 'a special file'
}
