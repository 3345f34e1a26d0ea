import { hasCommit } from '../commits/commit-store.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import type { LogEntry } from '../refs/log.ts'
import type { Store } from '../store/layout.ts'

/** A label as it is looked at. */
export interface LabelView {
  readonly store: Store
  readonly label: Label
  /** The entries of its log that can be read. */
  readonly entries: readonly LogEntry[]
}

/** Where the log says a ref is, if that commit is there. */
export function lastInLog({ store, entries }: LabelView, ref: string): CommitId | undefined {
  const to = entries.findLast(({ refs }) => ref in refs)?.refs[ref]?.to
  return to != null && hasCommit(store, to) ? to : undefined
}
