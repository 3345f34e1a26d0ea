import { hasCommit } from '../commits/commit-store.ts'
import { formatMetadata } from '../commits/metadata.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { renameNew } from '../host/descriptors.ts'
import {
  exists,
  makeDirectories,
  parentOf,
  removeIfExists,
  replaceFile,
  setMode,
  syncDirectory,
} from '../host/files.ts'
import { tidyRecords } from '../mounts/records.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { writeHead } from '../refs/head-file.ts'
import { appendLog, inspectLog } from '../refs/log.ts'
import { tagRef } from '../refs/move-refs.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Quarantine } from '../store/quarantine.ts'
import { clearStaleStaging } from '../store/staging.ts'
import { checkCommit } from './check-commit.ts'
import { checkFile } from './check-content.ts'
import type { Finding, Repair } from './findings.ts'

/** How a repair ended. What was only moved out of the way is not as it was. */
export type Outcome = 'repaired' | 'quarantined'

export interface RepairTools {
  readonly store: Store
  readonly quarantine: Quarantine
  /** For the log. */
  readonly actor: string
}

/**
 * Carries out what a finding says. Each repair looks first whether things are still as they were found. The caller holds the store's lock
 * exclusively. @throws whatever makes it impossible
 */
export async function repair(tools: RepairTools, finding: Finding, plan: Repair): Promise<Outcome> {
  const { store } = tools
  if ('label' in plan) return repairLabel(tools, finding, plan)
  switch (plan.do) {
    case 'restore-object':
      if (checkFile(paths.object(store, plan.digest), plan.digest) === undefined) break
      restore(tools, finding, paths.object(store, plan.digest), plan.from)
      break
    case 'quarantine-object':
      if (checkFile(paths.object(store, plan.digest), plan.digest) === undefined) break
      return setAside(tools, finding, paths.object(store, plan.digest))
    case 'restore-commit':
      if (!isSound(store, plan.id)) restore(tools, finding, paths.commit(store, plan.id), plan.from)
      break
    case 'quarantine-commit':
      if (isSound(store, plan.id)) break
      return setAside(tools, finding, paths.commit(store, plan.id))
    case 'write-metadata':
      replaceFile(paths.metadata(store, plan.metadata.id), formatMetadata(plan.metadata))
      break
    case 'quarantine':
      return setAside(tools, finding, plan.path)
    case 'permissions':
      if (exists(plan.path)) setMode(plan.path, plan.mode)
      break
    case 'make-folder':
      makeDirectories(plan.path)
      syncDirectory(parentOf(plan.path))
      break
    case 'remove-temporary':
      removeIfExists(plan.path)
      break
    case 'clear-staging':
      clearStaleStaging(store)
      break
    case 'tidy-records':
      await tidyRecords()
      break
  }
  return 'repaired'
}

type LabelRepair = Extract<Repair, { readonly label: Label }>

async function repairLabel(tools: RepairTools, finding: Finding, plan: LabelRepair): Promise<Outcome> {
  const { store, quarantine } = tools
  const { label } = plan
  switch (plan.do) {
    case 'recover-label':
      await recoverHead(store, label)
      break
    case 'write-head':
      if (exists(paths.headFile(store, label))) quarantine.copy(paths.headFile(store, label), finding.message)
      writeHead(store, label, plan.head)
      await recoverHead(store, label)
      break
    case 'write-tag':
      logTag(tools, finding, plan, { from: plan.to, to: plan.to })
      quarantine.copy(paths.tag(store, label, plan.tag), finding.message)
      replaceFile(paths.tag(store, label, plan.tag), `${plan.to}\n`)
      break
    case 'quarantine-tag':
      logTag(tools, finding, plan, { from: plan.from, to: null })
      return setAside(tools, finding, paths.tag(store, label, plan.tag))
    case 'rewrite-log':
      rewriteLog(tools, finding, label)
      break
  }
  return 'repaired'
}

function logTag(
  { store, actor }: RepairTools,
  { message }: Finding,
  { label, tag }: Extract<LabelRepair, { do: 'write-tag' | 'quarantine-tag' }>,
  move: { from: CommitId | null; to: CommitId | null },
): void {
  const refs = { [tagRef(tag)]: move }
  appendLog(store, label, { time: new Date().toISOString(), actor, operation: 'fsck', refs, message })
}

/** Moves an intact copy from the trash to where it belongs; what is there goes into quarantine. */
function restore({ quarantine }: RepairTools, finding: Finding, path: string, from: string): void {
  if (!exists(from)) throw new StratumError('conflict', `${toUser(from)} is not in the trash any more`)
  if (exists(path)) quarantine.take(path, finding.message)
  renameNew(from, path)
  syncDirectory(parentOf(path))
}

function setAside({ quarantine }: RepairTools, finding: Finding, path: string): Outcome {
  if (exists(path)) quarantine.take(path, finding.message)
  return 'quarantined'
}

function isSound(store: Store, id: CommitId): boolean {
  return hasCommit(store, id) && checkCommit(id, paths.commit(store, id), () => undefined).isSound
}

/** The entries that can be read; the log as it was goes into quarantine. */
function rewriteLog({ store, quarantine }: RepairTools, { message }: Finding, label: Label): void {
  const { entries } = inspectLog(store, label)
  quarantine.copy(paths.log(store, label), message)
  replaceFile(paths.log(store, label), entries.map(entry => `${JSON.stringify(entry)}\n`).join(''))
}
