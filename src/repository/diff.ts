import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import { requireLabel } from '../refs/resolve.ts'
import { isDirectory } from '../tree/append.ts'
import { type Difference, eachDifference } from '../tree/diff.ts'
import type { Context } from './context.ts'
import { look } from './look.ts'
import { openView, requireHead, viewCommit, viewHead } from './views.ts'

export interface DiffResult {
  readonly from: string
  readonly to: string
  /** Depth-first by bytes. */
  readonly differences: readonly Difference[]
  readonly summary: DiffSummary
}

export interface DiffSummary {
  readonly added: number
  readonly removed: number
  readonly modified: number
  /** Bytes of added and modified files, and of removed ones. */
  readonly bytesAdded: number
  readonly bytesRemoved: number
}

/**
 * What differs between two trees. With one reference: what HEAD changed since its last commit (`app`), or since that commit (`app:v1`).
 * @throws not-found, usage, integrity
 */
export async function diffTrees(context: Context, a: Reference, b: Reference | undefined): Promise<DiffResult> {
  const { store, signal } = context
  const to = b ?? { label: a.label, kind: 'head' }
  for (const { label } of [a, to]) requireLabel(store, label)
  return await look(context, [a, to], async () => {
    if (b === undefined && a.kind === 'head') return await diffHead(context, a.label)
    const [before, after] = [await openView(store, a, signal), await openView(store, to, signal)]
    return collect(before.name, after.name, report => eachDifference(before.view, after.view, report))
  })
}

/**
 * What HEAD changed since its last commit, which is that of `head`: a commit that does not fold it may move it meanwhile. The caller holds
 * the store's shared lock. @throws not-found, integrity
 */
export async function diffHead(
  { store, signal }: Context,
  label: Label,
  { base, lastCommit }: HeadRecord = requireHead(store, label),
): Promise<DiffResult> {
  const now = await viewHead(store, label, signal)
  // The parent's image is at hand already where HEAD's last commit is its base: then only what changed is looked at.
  const before =
    lastCommit === base ? { image: now.image, node: now.image.root, change: undefined } : viewCommit(store, lastCommit)
  return collect(`${label}:${lastCommit}`, formatReference({ label, kind: 'head' }), report =>
    eachDifference(before, now, report),
  )
}

function collect(from: string, to: string, walk: (report: (difference: Difference) => void) => void): DiffResult {
  const differences: Difference[] = []
  walk(difference => void differences.push(difference))
  return { from, to, differences, summary: summarize(differences) }
}

/** Counts files, not directories. */
export function summarize(differences: readonly Difference[]): DiffSummary {
  const summary = { added: 0, removed: 0, modified: 0, bytesAdded: 0, bytesRemoved: 0 }
  for (const { kind, before, after } of differences) {
    if (isDirectory((after ?? before)?.mode ?? 0)) continue
    if (kind === '+') summary.added++
    else if (kind === '-') summary.removed++
    else summary.modified++
    summary.bytesAdded += after?.size ?? 0
    if (kind !== 'M') summary.bytesRemoved += before?.size ?? 0
  }
  return summary
}
