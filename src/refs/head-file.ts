import { parse, stringify } from 'smol-toml'
import { StratumError } from '../errors/stratum-error.ts'
import { readTextIfExists, replaceFile } from '../host/files.ts'
import { type CommitId, isCommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { paths, type Store } from '../store/layout.ts'

/** What `head.toml` says of a label's HEAD (docs/head.md). */
export interface HeadRecord {
  /** The commit below the upperdir. */
  readonly base: CommitId
  /** The last commit made of HEAD; its base if there is none. */
  readonly lastCommit: CommitId
  /** Counts the upperdirs of this label: no two are alike. */
  readonly generation: number
  readonly state: HeadState
  readonly still: StandingStill | undefined
  /** The boot in which HEAD was mounted writable and from which it did not come back in an orderly way; empty if it did. */
  readonly bootId: string
  /**
   * When HEAD was mounted again after boots from which it did not come back: milliseconds since the epoch. What was changed shortly
   * before the last sign of life before such a moment may be cut. Until a commit takes it.
   */
  readonly uncleanBefore?: readonly number[]
  readonly changes: ChangeCounts | undefined
}

export type HeadState =
  | { readonly kind: 'clean' }
  /** A new base and empty upperdir are being put in place of the old ones. */
  | { readonly kind: 'folding'; readonly to: CommitId; readonly toGeneration: number }

/** What may be standing still: whoever finds this lets it go on first of all. */
export interface StandingStill {
  /** Groups of processes, as `heads/freeze.ts` writes them. */
  readonly freezers: readonly string[]
  /** Where a superblock may have been made read-only; empty if none was. */
  readonly readOnlyMount: string
}

/** The boot of a HEAD whose head.toml was written anew: it may be mounted, or not. */
export const UNKNOWN_BOOT = 'unknown'

/** What HEAD changed against its base, as last counted. */
export interface ChangeCounts {
  readonly added: number
  readonly modified: number
  readonly removed: number
  /** Bytes of added and modified files. */
  readonly bytes: number
  /** RFC 3339. */
  readonly countedAt: string
}

/** Undefined if the label has no HEAD (yet). @throws integrity */
export function readHead(store: Store, label: Label): HeadRecord | undefined {
  const text = readTextIfExists(paths.headFile(store, label))
  if (text === undefined) return undefined
  try {
    return parseHead(text)
  } catch (cause) {
    throw new StratumError(
      'integrity',
      `head.toml of ${label} is damaged: ${(cause as Error).message.split('\n')[0]}`,
      {
        cause,
        hint: 'stratum fsck shows what the upperdir says of itself',
      },
    )
  }
}

/** Of an upperdir that is empty. */
export function noChanges(): ChangeCounts {
  return { added: 0, modified: 0, removed: 0, bytes: 0, countedAt: new Date().toISOString() }
}

/** Durable when it returns. @param before what has to be durable before it is in place */
export function writeHead(store: Store, label: Label, head: HeadRecord, before?: () => void): void {
  replaceFile(paths.headFile(store, label), formatHead(head), before === undefined ? {} : { before })
}

/**
 * Changes what stands of who is standing still, and nothing else. After a power loss the file may be the one before: nobody stands still
 * then, and no mount is left, so that either says all that has to be known. It is whole in any case.
 */
export function noteStill(store: Store, label: Label, head: HeadRecord, still: StandingStill | undefined): void {
  replaceFile(paths.headFile(store, label), formatHead({ ...head, still }), { durable: 'bytes' })
}

function formatHead({
  base,
  lastCommit,
  generation,
  state,
  still,
  bootId,
  uncleanBefore,
  changes,
}: HeadRecord): string {
  const document: Record<string, Record<string, string | number | string[] | number[]>> = {
    head: {
      base_commit: base,
      last_commit: lastCommit,
      generation,
      state: state.kind === 'clean' && still !== undefined ? 'frozen' : state.kind,
      boot_id: bootId,
      ...(uncleanBefore === undefined || uncleanBefore.length === 0 ? {} : { unclean_before: [...uncleanBefore] }),
    },
  }
  if (state.kind === 'folding') document.folding = { to: state.to, to_generation: state.toGeneration }
  if (still !== undefined) document.frozen = { freezers: [...still.freezers], read_only_mount: still.readOnlyMount }
  if (changes !== undefined) {
    const { added, modified, removed, bytes, countedAt } = changes
    document.changes = { added, modified, removed, bytes, counted_at: countedAt }
  }
  return stringify(document)
}

function parseHead(text: string): HeadRecord {
  const document = parse(text) as Record<string, Record<string, unknown> | undefined>
  const head = document.head ?? {}
  const { base_commit, last_commit, generation, boot_id } = head
  if (typeof generation !== 'number' || typeof boot_id !== 'string') throw new Error('generation or boot_id is missing')
  return {
    base: commitId(base_commit),
    lastCommit: commitId(last_commit),
    generation,
    bootId: boot_id,
    uncleanBefore: Array.isArray(head.unclean_before) ? head.unclean_before.map(number) : [],
    state: parseState(head.state, document.folding ?? {}),
    still: parseStill(document.frozen),
    changes: parseChanges(document.changes),
  }
}

function parseState(kind: unknown, folding: Record<string, unknown>): HeadState {
  if (kind === 'clean' || kind === 'frozen') return { kind: 'clean' }
  if (kind === 'folding') return { kind, to: commitId(folding.to), toGeneration: number(folding.to_generation) }
  throw new Error(`its state is ${JSON.stringify(kind)}`)
}

function parseStill(frozen: Record<string, unknown> | undefined): StandingStill | undefined {
  if (frozen === undefined) return undefined
  const { freezers, read_only_mount } = frozen
  return {
    freezers: Array.isArray(freezers) ? freezers.map(String) : [],
    readOnlyMount: typeof read_only_mount === 'string' ? read_only_mount : '',
  }
}

function parseChanges(changes: Record<string, unknown> | undefined): ChangeCounts | undefined {
  if (changes === undefined) return undefined
  const { added, modified, removed, bytes, counted_at } = changes
  return {
    added: number(added),
    modified: number(modified),
    removed: number(removed),
    bytes: number(bytes),
    countedAt: String(counted_at),
  }
}

function commitId(value: unknown): CommitId {
  if (typeof value === 'string' && isCommitId(value)) return value
  throw new Error('a commit is missing')
}

function number(value: unknown): number {
  if (typeof value === 'number') return value
  throw new Error('a number is missing')
}
