import { isStratumError } from '../errors/stratum-error.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { type LogEntry, readLog } from '../refs/log.ts'
import { HEAD_REF } from '../refs/move-refs.ts'
import { listLabels } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'

/** A name that a commit once had, as the log of a label tells. */
export interface Mention {
  /** `app:v1`, `app:HEAD`. */
  readonly reference: string
  readonly label: Label
  /** When it got the name, and when it lost it; RFC 3339. */
  readonly since: string
  readonly until: string | undefined
  /** What took the name away, or else gave it, and who did that. */
  readonly operation: string
  readonly actor: string
  readonly message: string | undefined
}

/** The names that commits have and had, the latest first. A log that cannot be read tells nothing. */
export function readMentions(store: Store): Map<CommitId, Mention[]> {
  const mentions = new Map<CommitId, Mention[]>()
  for (const label of listLabels(store)) for (const entry of entriesOf(store, label)) noteEntry(mentions, label, entry)
  for (const list of mentions.values()) list.sort((a, b) => (latest(a) < latest(b) ? 1 : -1))
  return mentions
}

function entriesOf(store: Store, label: Label): LogEntry[] {
  try {
    return readLog(store, label)
  } catch (error) {
    if (isStratumError(error, 'integrity')) return []
    throw error
  }
}

function noteEntry(mentions: Map<CommitId, Mention[]>, label: Label, entry: LogEntry): void {
  const { time, operation, actor, message } = entry
  for (const [ref, { from, to }] of Object.entries(entry.refs)) {
    const reference = `${label}:${ref === HEAD_REF ? ref : ref.replace(/^tags\//, '')}`
    const others = (id: CommitId): Mention[] => (mentions.get(id) ?? []).filter(other => other.reference !== reference)
    const had = from === null ? undefined : mentions.get(from)?.find(other => other.reference === reference)
    if (from !== null && had !== undefined)
      mentions.set(from, [...others(from), { ...had, until: time, operation, actor }])
    if (to !== null)
      mentions.set(to, [...others(to), { reference, label, since: time, until: undefined, operation, actor, message }])
  }
}

function latest({ since, until }: Mention): string {
  return until ?? since
}
