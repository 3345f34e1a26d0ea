import { createHash } from 'node:crypto'
import type { CapturedHead } from '../heads/capture-head.ts'
import type { Consistency } from '../heads/stand-still.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { makeDirectories, removeIfExists, replaceFile } from '../host/files.ts'
import { runFolder } from '../mounts/records.ts'
import type { Store } from '../store/layout.ts'

/** The pod that a volume was published for, as kubelet named it. */
export interface Pod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
}

/** How a volume may be used, as CSI names it. */
export type AccessMode =
  | 'SINGLE_NODE_WRITER'
  | 'SINGLE_NODE_READER_ONLY'
  | 'MULTI_NODE_READER_ONLY'
  | 'MULTI_NODE_SINGLE_WRITER'
  | 'MULTI_NODE_MULTI_WRITER'
  | 'SINGLE_NODE_SINGLE_WRITER'
  | 'SINGLE_NODE_MULTI_WRITER'

/** One volume at one target, with the arguments that a repeat is compared with. */
export interface Publication {
  /** Latin1, as kubelet named it. */
  readonly target: string
  /** Undefined where the ledger was lost and kubelet's notes are, too. */
  readonly volumeId: string | undefined
  readonly label: Label
  /** As it was asked for: a tag or the id of a commit; undefined for HEAD. */
  readonly name: string | undefined
  /** What is mounted; of a HEAD its base. */
  readonly commit: CommitId
  readonly readOnly: boolean
  readonly accessMode: AccessMode | undefined
  readonly pod: Pod | undefined
  /** RFC 3339. */
  readonly since: string
}

/** A publication whose mount was seen. */
export interface Published extends Publication {
  /** The number that the kernel gave the mount at the target, unique in this boot. */
  readonly mount: bigint
}

/** A HEAD in headsDir, as it was seen last. */
export interface MountedHead {
  readonly mount: bigint
  readonly generation: number
}

/**
 * What is published where. The files in /run/stratum only add what mountinfo does not tell; they are of this boot and need no fsync.
 * `recover.ts` reads them at start.
 */
export interface Ledger {
  readonly folder: string
  readonly published: Map<string, Published>
  /** The HEADs that are mounted in headsDir. */
  readonly heads: Map<Label, MountedHead>
  /** What is done after calls were answered: HEADs that nobody uses any more are unmounted and folded. */
  background: Promise<void>
  /** Told of every fold, for metrics. */
  onFold: (result: 'folded' | 'unmounted' | 'failed') => void
  /** Told of every commit, for metrics. */
  onCommit: (commit: MeasuredCommit) => void
}

export interface MeasuredCommit {
  readonly consistency: Consistency
  /** `ok`, or the code of the error. */
  readonly result: string
  readonly seconds: number
  /** Undefined where it failed. */
  readonly captured: CapturedHead | undefined
}

export function createLedger(driver: string, { id }: Store): Ledger {
  const folder = `${runFolder()}/csi/${driver}-${id}`
  makeDirectories(folder, 0o700)
  return {
    folder,
    published: new Map(),
    heads: new Map(),
    background: Promise.resolve(),
    onFold: () => undefined,
    onCommit: () => undefined,
  }
}

/** Notes what is about to be mounted: from then on a crash leaves nothing that is not known. */
export function noteIntent({ folder }: Ledger, publication: Publication): void {
  replaceFile(ledgerFile(folder, publication.target), JSON.stringify(publication), { mode: 0o600, durable: false })
}

/** Strikes a target. */
export function strike({ folder, published }: Ledger, target: string): void {
  removeIfExists(ledgerFile(folder, target))
  published.delete(target)
}

export function ledgerFile(folder: string, target: string): string {
  return `${folder}/${createHash('sha256').update(target, 'latin1').digest('hex').slice(0, 40)}.json`
}

/** The targets of a volume. */
export function targetsOf({ published }: Ledger, volumeId: string): Published[] {
  return [...published.values()].filter(entry => entry.volumeId === volumeId)
}

/** The targets that show a label's HEAD. */
export function headTargets({ published }: Ledger, label: Label): Published[] {
  return [...published.values()].filter(entry => entry.label === label && entry.name === undefined)
}
