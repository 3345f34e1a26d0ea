import { isDirectoryMode, isUnchangedAt, type Stat } from '../host/stat.ts'

/** A name as an earlier scan found it. */
export interface Seen<N> {
  readonly stat: Stat
  /** Of a directory: its ctime lies before the probe. */
  readonly settled: boolean
  readonly children: ReadonlyMap<string, N> | undefined
}

/** A directory of an earlier scan in which something has to be looked at more closely. */
export interface Looked {
  /** No name can have come or gone since: the directory is as it was, and its ctime lies before the probe. */
  readonly namesHold: boolean
  /** Names that look different or whose look tells too little, and directories in which there are such. */
  readonly open: ReadonlySet<string>
}

/** A directory that is not in it is as it was, with all that is below. */
export type Findings<N> = ReadonlyMap<N, Looked>

interface LookOptions<N> {
  /** Whether a file that looks as it did is as it was. */
  trust(node: N): boolean
  /** Called before every look; may throw. */
  beforeEach(): void
}

/**
 * Looks at every name that a scan found, and at nothing else: one call each, by the path below `directory`. Where names cannot have changed
 * no directory is opened or listed, which is what most of the time of a scan goes into.
 *
 * If a directory on the way was exchanged, a path leads elsewhere. But then the look finds the very inode with the very times that was
 * there before, or it is no match; and the directory on the way was looked at as well.
 */
export function lookAgain<N extends Seen<N>>(
  directory: number,
  root: N,
  { trust, beforeEach }: LookOptions<N>,
): Findings<N> {
  const findings = new Map<N, Looked>()
  const holds = (node: N, path: string): boolean => {
    beforeEach()
    const isSame = isUnchangedAt(directory, path === '' ? '.' : path, node.stat)
    if (!isDirectoryMode(node.stat.mode)) return isSame && trust(node)
    const open = new Set<string>()
    for (const [name, child] of node.children ?? [])
      if (!holds(child, path === '' ? name : `${path}/${name}`)) open.add(name)
    const namesHold = isSame && node.settled
    if (namesHold && open.size === 0) return true
    findings.set(node, { namesHold, open })
    return false
  }
  holds(root, '')
  return findings
}
