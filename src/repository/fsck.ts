import { affectedFiles, checkCommits, checkTrashedCommit } from '../check/check-commits.ts'
import { checkContents } from '../check/check-contents.ts'
import { checkLabel } from '../check/check-label.ts'
import { checkExpected, checkObjectFolders, objectFindings } from '../check/check-objects.ts'
import { checkRest } from '../check/check-rest.ts'
import { createExpectedObjects, type ExpectedObjects } from '../check/expected-objects.ts'
import type { Finding } from '../check/findings.ts'
import { type Outcome, repair, type RepairTools } from '../check/repair.ts'
import { listCommits } from '../commits/commit-store.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { exists } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { listLabelFolders } from '../refs/tags.ts'
import { paths } from '../store/layout.ts'
import { lockLabelIfAny, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { openQuarantine } from '../store/quarantine.ts'
import { type Context, lockOptions } from './context.ts'
import { namesOfCommits } from './verify.ts'

export interface FsckRequest {
  readonly repair: boolean
  /** Do not read objects: only whether they are there with the right size. */
  readonly quick: boolean
}

/** A finding and what became of it. */
export interface Settled {
  readonly finding: Finding
  readonly outcome: Outcome | 'found' | 'failed'
  /** Why a repair failed. */
  readonly failure?: string
}

export interface FsckResult {
  readonly settled: readonly Settled[]
  readonly labels: number
  readonly commits: number
  readonly objects: number
  /** Bytes of objects that commits name. */
  readonly bytes: number
  /** Objects that no commit names. */
  readonly unused: number
  /** Where things were put that could not be repaired. */
  readonly quarantine: string | undefined
}

/** Checks the whole store, and repairs what can be repaired without guessing. Nothing is ever deleted. */
export async function checkStore(context: Context, request: FsckRequest): Promise<FsckResult> {
  const { store } = context
  if (request.repair) requireWritable(store)
  const labels = listLabelFolders(store)
  const labelFindings: Finding[] = []
  for (const label of labels) labelFindings.push(...(await checkLabelAlone(context, label)))
  const { findings, expected, unused, commits } = await checkContent(context, request, labelFindings)
  const counts = {
    labels: labels.length,
    commits,
    objects: expected.table.size,
    bytes: expected.sizes.reduce((sum, size) => sum + size, 0),
    unused,
  }
  const all = [...findings, ...labelFindings]
  if (request.repair && all.some(finding => finding.repair !== undefined))
    return { ...counts, ...(await repairStore(context, findings, labelFindings)) }
  return { ...counts, settled: all.map(finding => ({ finding, outcome: 'found' })), quarantine: undefined }
}

/** A long commit or import of a label is not waited for. */
const LABEL_LIMIT_MS = 5_000

/** While nobody changes the label: in the middle of a commit much looks as if it had been cut off. */
async function checkLabelAlone(context: Context, label: Label): Promise<Finding[]> {
  const { store, signal, lockLimitMs = LABEL_LIMIT_MS } = context
  try {
    const options = { signal, limitMs: Math.min(lockLimitMs, LABEL_LIMIT_MS) }
    using _label = exists(paths.labelLock(store, label)) ? await lockLabelIfAny(store, label, options) : undefined
    using _store = await lockStore(store, 'shared', lockOptions(context))
    return checkLabel(store, label)
  } catch (error) {
    if (!isStratumError(error, 'busy')) throw error
    return [{ severity: 'note', kind: 'not-checked', what: label, message: error.message }]
  }
}

interface Content {
  readonly findings: Finding[]
  readonly expected: ExpectedObjects
  readonly unused: number
  readonly commits: number
}

/** Commits, objects and everything that is no label. */
async function checkContent(
  context: Context,
  { quick }: FsckRequest,
  labelFindings: readonly Finding[],
): Promise<Content> {
  const { store, signal, onProgress } = context
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const expected = createExpectedObjects()
  const ids = listCommits(store)
  const onCommit = (): void => onProgress?.({ stage: 'checking images', files: expected.table.size, bytes: 0 })
  const findings = [...(await checkRest(store)), ...(await checkCommits(store, ids, expected, { signal, onCommit }))]
  for (const { repair: plan } of labelFindings)
    if (plan?.do === 'restore-commit') checkTrashedCommit(plan.id, plan.from, expected)
  const unused = createExpectedObjects()
  findings.push(...(await checkObjectFolders(store, expected, digest => unused.add(digest, -1))))
  const report = (files: number, bytes: number): void => onProgress?.({ stage: 'checking objects', files, bytes })
  const options = { quick, signal, onProgress: report }
  const problems = await checkExpected(store, expected, options)
  if (!quick)
    for (const [digest, problem] of await checkContents(store, unused.all(), options)) problems.set(digest, problem)
  const affected = affectedFiles(store, ids, problems.keys(), namesOfCommits(store))
  findings.push(...objectFindings(store, problems, affected))
  return { findings, expected, unused: unused.table.size, commits: ids.length }
}

/** Repairs of labels show what else there is: a tag whose commit went into quarantine, a move that a damaged log hid. */
const ROUNDS = 4

async function repairStore(
  context: Context,
  findings: readonly Finding[],
  labelFindings: readonly Finding[],
): Promise<Pick<FsckResult, 'settled' | 'quarantine'>> {
  const { store, actor } = context
  using _store = await lockStore(store, 'exclusive', lockOptions(context))
  const quarantine = openQuarantine(store)
  const tools: RepairTools = { store, quarantine, actor }
  const settled: Settled[] = []
  for (const finding of findings) settled.push(await settle(tools, finding))
  for (let round = 0; round < ROUNDS; round++) {
    const found = listLabelFolders(store).flatMap(label => checkLabel(store, label))
    const fresh = found.filter(finding => !settled.some(other => isSame(other.finding, finding)))
    if (fresh.length === 0) break
    for (const finding of fresh) settled.push(await settle(tools, finding))
  }
  for (const finding of labelFindings) if (finding.kind === 'not-checked') settled.push({ finding, outcome: 'found' })
  return { settled, quarantine: exists(quarantine.path) ? toUser(quarantine.path) : undefined }
}

async function settle(tools: RepairTools, finding: Finding): Promise<Settled> {
  if (finding.repair === undefined) return { finding, outcome: 'found' }
  try {
    return { finding, outcome: await repair(tools, finding, finding.repair) }
  } catch (error) {
    return { finding, outcome: 'failed', failure: (error as Error).message }
  }
}

function isSame(a: Finding, b: Finding): boolean {
  return a.kind === b.kind && a.what === b.what && a.message === b.message
}

/** Whether something is lost or was not put right. */
export function isDamaged({ finding, outcome }: Settled): boolean {
  return finding.severity === 'damage' && outcome !== 'repaired'
}
