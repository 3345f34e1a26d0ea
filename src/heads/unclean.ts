import type { LayerScan, ScannedNode } from '../capture/scan-layer.ts'
import { bootId } from '../host/boot.ts'
import { isRegularMode } from '../host/stat.ts'
import { type HeadRecord, UNKNOWN_BOOT } from '../refs/head-file.ts'

/** So long before the last sign of life, what was written may not have reached the disk (ext4 commits every 5 s, writes back after 30). */
const AT_RISK_NANOSECONDS = 60n * 1_000_000_000n
const NANOSECONDS = 1_000_000n

/** HEAD as it is to be noted when it is mounted: if it did not come back from an earlier boot, that has to be told apart from this one. */
export function noteBoot(head: HeadRecord): HeadRecord {
  return { ...head, bootId: bootId(), uncleanBefore: momentsOfDoubt(head) }
}

/** HEAD when all that is in it was taken as it is. */
export function withoutDoubt(head: HeadRecord): HeadRecord {
  return { ...head, bootId: mayBeMounted(head) ? bootId() : '', uncleanBefore: [] }
}

/** False for a HEAD that was not mounted in this boot, or came back in order: no mount is made before head.toml names the boot. */
export function mayBeMounted({ bootId: boot }: HeadRecord): boolean {
  return boot === bootId() || boot === UNKNOWN_BOOT
}

function momentsOfDoubt({ bootId: boot, uncleanBefore = [] }: HeadRecord): readonly number[] {
  return boot === '' || boot === bootId() ? uncleanBefore : [...uncleanBefore, Date.now()]
}

/**
 * Files of an upperdir that look as a power loss leaves them: empty or without blocks, and changed shortly before the last change of all
 * before it. Their writers never called fsync; what they hold is not what was written.
 */
export function suspiciousFiles(head: HeadRecord, { root }: LayerScan): string[] {
  const moments = momentsOfDoubt(head).map(moment => BigInt(moment) * NANOSECONDS)
  if (moments.length === 0) return []
  const nodes = [...nodesBelow(root, '')]
  const lastChanges = moments.map(moment => lastChangeBefore(nodes, moment))
  return nodes
    .filter(({ node }) => looksCut(node))
    .filter(({ node: { stat } }) =>
      lastChanges.some(last => stat.ctime <= last && stat.ctime >= last - AT_RISK_NANOSECONDS),
    )
    .map(({ path }) => path)
}

interface Place {
  readonly path: string
  readonly node: ScannedNode
}

function* nodesBelow(node: ScannedNode, path: string): Generator<Place> {
  yield { path, node }
  for (const [name, child] of node.children ?? []) yield* nodesBelow(child, path === '' ? name : `${path}/${name}`)
}

function lastChangeBefore(nodes: readonly Place[], moment: bigint): bigint {
  let last = 0n
  for (const { node } of nodes) if (node.stat.ctime <= moment && node.stat.ctime > last) last = node.stat.ctime
  return last
}

function looksCut({ stat, content }: ScannedNode): boolean {
  return content !== undefined && isRegularMode(stat.mode) && (stat.size === 0 || stat.blocks === 0)
}
