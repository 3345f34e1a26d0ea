import { hasCommit } from '../commits/commit-store.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { isSameMark, type PairMark, readMark } from '../heads/pair.ts'
import { exists, listNames } from '../host/files.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { type HeadRecord, type HeadState, readHead, UNKNOWN_BOOT } from '../refs/head-file.ts'
import { HEAD_REF } from '../refs/move-refs.ts'
import { paths } from '../store/layout.ts'
import { findTrashedCommit } from '../store/trash.ts'
import type { Finding, Repair } from './findings.ts'
import { type LabelView, lastInLog } from './label-view.ts'

/** What the directories of a HEAD say of themselves. */
interface Marks {
  readonly head: PairMark | undefined
  readonly work: PairMark | undefined
  readonly nextHead: PairMark | undefined
  readonly nextWork: PairMark | undefined
}

export interface CheckedHead {
  readonly findings: readonly Finding[]
  /** HEAD's last commit; null if there is no HEAD that can be read. */
  readonly lastCommit: CommitId | null
}

/** A boot that never was: a commit then looks for files that a power loss may have cut. */

/** Checks head.toml against the marks of the upperdirs and against the commits of the store. */
export function checkHead(view: LabelView): CheckedHead {
  const marks = readMarks(view)
  const record = readRecord(view)
  if (record === undefined) return { findings: checkWithout(view, marks), lastCommit: null }
  if (typeof record === 'string') return { findings: [rewrite(view, marks, record)], lastCommit: null }
  return {
    findings: [...checkPairs(view, marks, record), ...checkCommits(view, record)],
    lastCommit: record.lastCommit,
  }
}

function readMarks({ store, label }: LabelView): Marks {
  return {
    head: readMark(paths.upper(store, label)),
    work: readMark(paths.work(store, label)),
    nextHead: readMark(paths.nextUpper(store, label)),
    nextWork: readMark(paths.nextWork(store, label)),
  }
}

/** The record, none, or what is wrong with it. */
function readRecord({ store, label }: LabelView): HeadRecord | string | undefined {
  try {
    return readHead(store, label)
  } catch (error) {
    if (isStratumError(error, 'integrity')) return error.message
    throw error
  }
}

/** Without head.toml there is no upperdir with anything in it. A half of a pair that is empty is what a creation leaves that was cut off. */
function checkWithout(view: LabelView, marks: Marks): Finding[] {
  const upper = paths.upper(view.store, view.label)
  if (!exists(upper) || (marks.work === undefined && listNames(upper).length === 0)) return []
  const finding = rewrite(view, marks, 'head.toml is gone')
  const isNew = marks.head?.generation === 1 && listNames(upper).length === 0 && lastInLog(view, HEAD_REF) === undefined
  return [isNew ? { ...finding, severity: 'leftover', kind: 'unfinished' } : finding]
}

/** Both directories say on which base they lie: head.toml can be written anew unless they contradict one another. */
function rewrite(view: LabelView, marks: Marks, message: string, lastCommit?: CommitId): Finding {
  const { label } = view
  const damage = { severity: 'damage', kind: 'head-damaged', what: `HEAD of ${label}`, message } as const
  const found = infer(marks)
  if (found === undefined) return damage
  const { mark, state } = found
  const head: HeadRecord = {
    ...mark,
    lastCommit: lastCommit ?? lastInLog(view, HEAD_REF) ?? mark.base,
    state,
    still: undefined,
    bootId: UNKNOWN_BOOT,
    changes: undefined,
  }
  return { ...damage, repair: { do: 'write-head', label, head } }
}

/** Either the pair fits together, or a fold was cut off between the exchange of head/ and that of work/, which is then finished. */
function infer({ head, work, nextHead, nextWork }: Marks): { mark: PairMark; state: HeadState } | undefined {
  if (head === undefined || work === undefined) return undefined
  if (isSameMark(head, work)) return { mark: head, state: { kind: 'clean' } }
  if (!isSameMark(nextHead, work) || !isSameMark(nextWork, head) || head.generation <= work.generation) return undefined
  return { mark: work, state: { kind: 'folding', to: head.base, toGeneration: head.generation } }
}

function checkPairs(view: LabelView, marks: Marks, record: HeadRecord): Finding[] {
  const { store, label } = view
  const { base, generation, state, still } = record
  const findings = still === undefined ? [] : [unfinished(view, 'its writers may be standing still')]
  if (state.kind === 'folding') {
    if (isFoldable(marks, record, state)) return [...findings, unfinished(view, 'a fold was cut off')]
    return [...findings, mismatch(view, marks, record, 'they are not those of the fold that head.toml describes')]
  }
  if (!isSameMark(marks.head, record) || !isSameMark(marks.work, record)) {
    const expected = `head.toml says generation ${generation} on ${shortId(base)}`
    return [...findings, mismatch(view, marks, record, expected)]
  }
  const isGivenUp = [paths.nextUpper, paths.nextWork].some(path => exists(path(store, label)))
  return isGivenUp ? [...findings, unfinished(view, 'a fold was given up')] : findings
}

function unfinished({ label }: LabelView, message: string): Finding {
  const repair = { do: 'recover-label', label } as const
  return { severity: 'leftover', kind: 'unfinished', what: `HEAD of ${label}`, message, repair }
}

/** The table of docs/head.md 6. */
function isFoldable(marks: Marks, before: PairMark, state: Extract<HeadState, { kind: 'folding' }>): boolean {
  const after: PairMark = { base: state.to, generation: state.toGeneration }
  const fits = (here: PairMark | undefined, next: PairMark | undefined): boolean =>
    (isSameMark(here, before) && isSameMark(next, after)) || (isSameMark(here, after) && isSameMark(next, before))
  return fits(marks.head, marks.nextHead) && fits(marks.work, marks.nextWork)
}

function mismatch(view: LabelView, marks: Marks, { lastCommit }: HeadRecord, message: string): Finding {
  const found = `head/ is ${show(marks.head)}, work/ is ${show(marks.work)}: ${message}`
  return rewrite(view, marks, found, hasCommit(view.store, lastCommit) ? lastCommit : undefined)
}

function show(mark: PairMark | undefined): string {
  return mark === undefined ? 'without a mark' : `generation ${mark.generation} on ${shortId(mark.base)}`
}

function checkCommits(view: LabelView, record: HeadRecord): Finding[] {
  const { store, label } = view
  const { base, lastCommit, state } = record
  const wanted = new Map<CommitId, string>([[lastCommit, 'its last commit']])
  wanted.set(base, 'its base')
  if (state.kind === 'folding') wanted.set(state.to, 'its coming base')
  return [...wanted].flatMap(([id, role]): Finding[] => {
    if (hasCommit(store, id)) return []
    const message = `${role}, ${shortId(id)}, is not in the store`
    const finding: Finding = { severity: 'damage', kind: 'head-dangling', what: `HEAD of ${label}`, message }
    const [from] = findTrashedCommit(store, id)
    const repair = from === undefined ? withoutLast(view, record, id) : ({ do: 'restore-commit', id, from } as const)
    return [repair === undefined ? finding : { ...finding, repair }]
  })
}

/** What was written since lies over the base; the last commit only says how far it was stored. */
function withoutLast(view: LabelView, record: HeadRecord, missing: CommitId): Repair | undefined {
  if (missing !== record.lastCommit || missing === record.base || record.state.kind !== 'clean') return undefined
  const lastCommit = lastInLog(view, HEAD_REF) ?? record.base
  return { do: 'write-head', label: view.label, head: { ...record, lastCommit } }
}
