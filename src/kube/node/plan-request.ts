import { isTrue } from '../resources/conditions.ts'
import { FINALIZER, type StratumCommit } from '../resources/stratum.ts'
import type { JournalEntry } from './request-journal.ts'

/** What a node does about a StratumCommit. */
export type Step =
  /** It is another's, or nothing is to be done before the object changes. */
  | 'leave'
  /** Write our name on it, then do it. */
  | 'take'
  /** It is ours: do it, or find out that it was done. */
  | 'do'
  /** The journal knows how it ended, the object does not. */
  | 'answer'
  /** It is being deleted: take its tags along. */
  | 'untag'

export interface Facts {
  readonly nodeName: string
  /** This store holds the label's HEAD. */
  readonly isHolder: boolean
  readonly entry: JournalEntry | undefined
}

export function planRequest({ metadata, spec, status }: StratumCommit, { nodeName, isHolder, entry }: Facts): Step {
  const isOurs = status?.nodeName === nodeName
  const isOver = status?.completionTime !== undefined
  if (metadata.deletionTimestamp !== undefined) {
    if (entry?.outcome === undefined) return entry === undefined ? 'leave' : 'do'
    return isOurs && spec.deletionPolicy === 'Delete' ? 'untag' : 'leave'
  }
  if (isOver) return 'leave'
  if (entry !== undefined) return entry.outcome === undefined ? 'do' : 'answer'
  if (spec.suspend) return 'leave'
  if (isOurs) return isTrue(status.conditions, 'Accepted') ? 'do' : 'take'
  if (status?.nodeName !== undefined || !isHolder) return 'leave'
  // Without the controller's finalizer, it could go before its tags can.
  if (spec.deletionPolicy === 'Delete' && !metadata.finalizers?.includes(FINALIZER)) return 'leave'
  return 'take'
}
