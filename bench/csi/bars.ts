import type { Results, Row } from './report.ts'

/** What the driver is held to, and what was measured: the worst of all rows that it speaks of. */
export interface Verdict {
  readonly what: string
  readonly bar: string
  readonly measured: string
  readonly isMet: boolean
}

type Figure = 'p50' | 'p99' | 'perSecond'

/** Rows that begin with one of these words, with so many calls in flight. */
interface Bar {
  readonly what: string
  readonly work: RegExp
  readonly inFlight: number
  readonly figure: Figure
  readonly limit: number
}

const BARS: readonly Bar[] = [
  { what: 'publish of a tag', work: /^publish: a tag/, inFlight: 1, figure: 'p50', limit: 5 },
  { what: 'publish of a tag', work: /^publish: a tag/, inFlight: 1, figure: 'p99', limit: 20 },
  { what: 'publish of a tag', work: /^publish: a tag/, inFlight: 64, figure: 'perSecond', limit: 400 },
  { what: 'publish of a tag', work: /^publish: a tag/, inFlight: 64, figure: 'p99', limit: 250 },
  { what: 'unpublish', work: /^unpublish: a tag/, inFlight: 1, figure: 'p50', limit: 5 },
  { what: 'unpublish', work: /^unpublish: a tag/, inFlight: 64, figure: 'perSecond', limit: 400 },
  { what: 'repeat of a publish', work: /^repeat:/, inFlight: 1, figure: 'p50', limit: 2 },
  { what: 'statistics', work: /^stats:/, inFlight: 1, figure: 'p50', limit: 2 },
  { what: 'create of an empty volume', work: /^create an empty/, inFlight: 1, figure: 'p50', limit: 10 },
  {
    what: 'snapshot with 100 changes in 54,000 entries',
    work: /^snapshot .* large tree/,
    inFlight: 1,
    figure: 'p50',
    limit: 300,
  },
  { what: 'restore, whatever its size', work: /^create a volume from/, inFlight: 1, figure: 'p50', limit: 20 },
]
const START_MS = 3000
const IDLE_MEBIBYTES = 120
const USED_MEBIBYTES = 180

export function judge(results: Results): Verdict[] {
  const starts = results.starts.map(([, milliseconds]) => milliseconds)
  const [[, idle], ...later] = results.memory
  return [
    ...BARS.map(bar => judgeRows(bar, results.rows)),
    atMost('start with 1,000 published', Math.max(...starts), START_MS, 'ms'),
    atMost('resident memory, idle', idle, IDLE_MEBIBYTES, 'MiB'),
    atMost(
      'resident memory, at any later time',
      Math.max(...later.map(([, mebibytes]) => mebibytes)),
      USED_MEBIBYTES,
      'MiB',
    ),
  ]
}

function judgeRows({ what, work, inFlight, figure, limit }: Bar, rows: readonly Row[]): Verdict {
  const values = rows
    .filter(row => work.test(row.work) && row.load.inFlight === inFlight)
    .map(({ load }) => load[figure])
  if (figure !== 'perSecond')
    return atMost(`${what}: ${figure}, ${inFlight} in flight`, Math.max(...values), limit, 'ms')
  const least = Math.min(...values)
  return {
    what: `${what}: ${inFlight} in flight`,
    bar: `≥ ${limit} a second`,
    measured: least.toFixed(0),
    isMet: least >= limit,
  }
}

function atMost(what: string, value: number, limit: number, unit: string): Verdict {
  return {
    what,
    bar: `≤ ${limit} ${unit}`,
    measured: `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`,
    isMet: value <= limit,
  }
}
