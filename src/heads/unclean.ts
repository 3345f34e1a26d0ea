import type { LayerScan, ScannedNode } from '../capture/scan-layer.ts'
import { isRegularMode } from '../host/stat.ts'

/** So long before the last sign of life, what was written may not have reached the disk (ext4 commits every 5 s, writes back after 30). */
const AT_RISK_NANOSECONDS = 60n * 1_000_000_000n

/**
 * Files of an upperdir that look as a power loss leaves them: empty or without blocks, and changed shortly before the last change of all.
 * Their writers never called fsync; what they hold is not what was written.
 */
export function suspiciousFiles({ root }: LayerScan): string[] {
  const files: { path: string; node: ScannedNode }[] = []
  let last = 0n
  const visit = (node: ScannedNode, path: string): void => {
    if (node.stat.ctime > last) last = node.stat.ctime
    if (node.content !== undefined && isRegularMode(node.stat.mode)) files.push({ path, node })
    for (const [name, child] of node.children ?? []) visit(child, path === '' ? name : `${path}/${name}`)
  }
  visit(root, '')
  return files
    .filter(({ node }) => looksCut(node) && node.stat.ctime >= last - AT_RISK_NANOSECONDS)
    .map(({ path }) => path)
}

function looksCut({ stat }: ScannedNode): boolean {
  return stat.size === 0 || stat.blocks === 0
}
