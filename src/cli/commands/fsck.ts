import { checkStore, type FsckResult, isDamaged, type Settled } from '../../repository/fsck.ts'
import { findingJson, findingLines } from '../findings.ts'
import { count, formatBytes } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly repair: boolean
  readonly quick: boolean
}

const INTEGRITY = 9
const PARTIAL = 3

export const run: Command<Options> = async invocation => {
  const { repair, quick } = invocation.options
  const result = await checkStore(await openContext(invocation), { repair, quick })
  const { settled, quarantine, ...counts } = result
  const exitCode = exitCodeOf(result)
  return {
    json: { ...counts, quick, clean: exitCode === 0, findings: settled.map(settledJson), quarantine },
    text: settled.flatMap(each => findingLines(each.finding, becameOf(each))),
    notes: notesOf(result, repair),
    exitCode,
  }
}

function exitCodeOf({ settled }: FsckResult): number {
  if (settled.some(isDamaged)) return INTEGRITY
  return settled.some(({ finding }) => finding.kind === 'not-checked') ? PARTIAL : 0
}

function becameOf({ finding, outcome, failure }: Settled): string {
  if (outcome === 'repaired') return ' — repaired'
  if (outcome === 'quarantined') return ' — moved into quarantine'
  if (outcome === 'failed') return ` — could not be repaired: ${failure}`
  if (finding.repair !== undefined) return ' (--repair)'
  return finding.severity === 'damage' ? ' — cannot be repaired' : ''
}

function settledJson({ finding, outcome, failure }: Settled): Record<string, unknown> {
  return { ...findingJson(finding), outcome, ...(failure === undefined ? {} : { failure }) }
}

function notesOf(result: FsckResult, repair: boolean): string[] {
  const { settled, labels, commits, objects, bytes, unused, quarantine } = result
  const damaged = settled.filter(isDamaged).length
  const what = `${count(labels, 'label')}, ${count(commits, 'commit')}, ${count(objects, 'object')}, ${formatBytes(bytes)}`
  const notes = [damaged === 0 ? `clean: ${what}` : `${count(damaged, 'problem')} in ${what}`]
  if (unused > 0) notes.push(`${count(unused, 'object')} of no commit: stratum gc takes them`)
  if (quarantine !== undefined) notes.push(`what could not be repaired is in ${quarantine}`)
  if (!repair && settled.some(({ finding }) => finding.repair !== undefined))
    notes.push('stratum fsck --repair does what is marked so')
  return notes
}
