import { StratumError } from '../errors/stratum-error.ts'
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

/** Undefined where there is no directory, or none of ours. */
export function readMark(path: string): PairMark | undefined {
  try {
    const [base, generation] = (getXattr(path, MARK) ?? '').split(' ')
    return isCommitId(base) ? { base, generation: Number(generation) } : undefined
  } catch {
    return undefined
  }
}

export function writeMark(path: string, { base, generation }: PairMark): void {
  setXattr(path, MARK, `${base} ${generation}`)
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
