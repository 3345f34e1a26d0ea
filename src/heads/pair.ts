import { StratumError } from '../errors/stratum-error.ts'
import type { Image } from '../erofs/arena.ts'
import { createInode, readInode } from '../erofs/inode.ts'
import { escapeXattrName, userXattrs } from '../erofs/xattrs.ts'
import { makeDirectory, parentOf, setModificationTime, setOwnerAndMode, syncDirectory } from '../host/files.ts'
import { getXattr, setXattr } from '../host/xattrs.ts'
import { type CommitId, isCommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'

/**
 * An upperdir and its workdir are one unit: over another base they would show that base's bytes without a word. Both carry a mark, which
 * is checked before every mount.
 */
export interface PairMark {
  readonly base: CommitId
  readonly generation: number
}

/** Hidden through the mount, as all of overlayfs' own xattrs are. */
const MARK = 'trusted.overlay.stratum'

/** Makes an empty pair. The upperdir looks like the root of its base, or the first commit would change it. */
export function createPair(upper: string, work: string, { mark, base }: { mark: PairMark; base: Image }): void {
  for (const path of [upper, work]) {
    makeDirectory(path, 0o700)
    setXattr(path, MARK, `${mark.base} ${mark.generation}`)
  }
  const inode = readInode(base, base.root, createInode())
  setOwnerAndMode(upper, inode.uid, inode.gid, inode.mode & 0o7777)
  for (const [name, value] of userXattrs(base, base.root, inode)) setXattr(upper, escapeXattrName(name), value)
  setModificationTime(upper, inode.seconds, inode.nanoseconds)
}

/** Makes a pair durable that was just made: not with syncfs(2), which waits for all that the pods of a node are writing. */
export function syncPair(upper: string, work: string): void {
  for (const path of [upper, work, parentOf(upper)]) syncDirectory(path)
}

/** Undefined where there is no directory, or none of ours. */
export function readMark(path: string): PairMark | undefined {
  try {
    const [base, generation] = (getXattr(path, MARK) ?? '').split(' ')
    return isCommitId(base) ? { base, generation: Number(generation) } : undefined
  } catch {
    return undefined
  }
}

export function isSameMark(a: PairMark | undefined, b: PairMark): boolean {
  return a?.base === b.base && a.generation === b.generation
}

/** @throws integrity where upperdir or workdir belong to another base or generation */
export function checkPair(label: Label, upperdir: string, workdir: string, expected: PairMark): void {
  for (const [what, path] of [
    ['head/', upperdir],
    ['work/', workdir],
  ]) {
    const mark = readMark(path)
    if (isSameMark(mark, expected)) continue
    const found =
      mark === undefined
        ? 'has no mark of ours'
        : `belongs to base ${mark.base.slice(0, 12)}, generation ${mark.generation}`
    throw new StratumError(
      'integrity',
      `${what} of ${label} ${found}; head.toml names base ${expected.base.slice(0, 12)}, generation ${expected.generation}. Nothing was mounted`,
      { hint: 'Put head/ and work/ back as they belong together (docs/backup.md), or see: stratum fsck' },
    )
  }
}
