import fs from 'node:fs'
import type { Summary } from './measure.ts'
import type { Peer } from './peers.ts'

/** What one kind of work cost each tool. */
export interface Row {
  readonly work: string
  readonly results: ReadonlyMap<string, Summary>
  /** On disk afterwards. */
  readonly bytes?: ReadonlyMap<string, number>
  /** What the figures are to be held against. */
  readonly note?: string
  /** Whom the others are compared with, if not Stratum. */
  readonly against?: string
}

/** A figure that has to be reached. */
export interface Bar {
  readonly work: string
  readonly bar: string
  readonly measured: string
  readonly met: boolean
}

/** What a part of the benchmark found. */
export interface Findings {
  readonly rows: readonly Row[]
  readonly bars: readonly Bar[]
}

interface Facts {
  readonly rounds: number
  readonly entries: number
  readonly peers: readonly Peer[]
  readonly machine: string
  readonly load: string
  readonly minutes: number
}

export const OURS = 'stratum'

/** The bars first; then a table for each kind of work: medians, spread, ratios, processor time, peak memory, bytes on disk. */
export function writeResults(file: string, { rows, bars }: Findings, facts: Facts): void {
  const { rounds, entries, peers, machine, load, minutes } = facts
  const text = [
    '# Results',
    '',
    `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)} in ${minutes.toFixed(0)} minutes: ${machine}; load average when it began ${load}.`,
    `${rounds} rounds, all tools in turn in each, a tree of ${entries.toLocaleString('en')} entries, every command that stores with all its data on disk at the end (\`sync -f\`).`,
    'Seconds are medians, CPU is user and system time of all processes together; ratios are of medians, to Stratum unless the table says otherwise; memory is',
    'that of the largest process.',
    '',
    peers.map(({ name, version }) => `- ${name}: ${version}`).join('\n'),
    '',
    '## Bars',
    '',
    '| work | bar | measured | met |',
    '|---|---|---|---|',
    ...bars.map(({ work, bar, measured, met }) => `| ${work} | ${bar} | ${measured} | ${met ? 'yes' : '**no**'} |`),
    '',
    ...rows.map(tableOf),
  ].join('\n')
  fs.writeFileSync(file, text)
}

function tableOf({ work, results, bytes, note, against = OURS }: Row): string {
  const base = results.get(against)
  const lines = [...results]
    .sort(([, a], [, b]) => a.median - b.median)
    .map(([name, { median, least, most, cpuMedian, peakBytes }]) => {
      const isBase = base === undefined || name === against
      const cells = [
        name,
        median.toFixed(3),
        `${least.toFixed(3)} to ${most.toFixed(3)}`,
        isBase ? '' : times(median / base.median),
        cpuMedian === 0 ? '' : cpuMedian.toFixed(3),
        isBase || base.cpuMedian === 0 ? '' : times(cpuMedian / base.cpuMedian),
        megabytes(peakBytes),
        megabytes(bytes?.get(name) ?? 0),
      ]
      return `| ${cells.join(' | ')} |`
    })
  return [
    `## ${work}`,
    '',
    ...(note === undefined ? [] : [note, '']),
    '| | s | spread | ratio | CPU s | ratio of CPU | peak memory | on disk |',
    '|---|---|---|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}

export function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`
}

export function megabytes(bytes: number): string {
  return bytes === 0 ? '' : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`
}

/** Stratum at most so many times what another needs, or one thing so many times another. */
export function ratioBar(work: string, row: Row, most: number, other: string, ours = OURS): Bar {
  const [a, b] = [row.results.get(ours), row.results.get(other)]
  if (a === undefined || b === undefined) throw new Error(`${work}: ${ours} or ${other} was not measured`)
  const ratio = a.median / b.median
  const cpu = a.cpuMedian > 0 && b.cpuMedian > 0 ? `, CPU ${times(a.cpuMedian / b.cpuMedian)}` : ''
  return { work, bar: `≤ ${times(most)} ${other}`, measured: `${times(ratio)}${cpu}`, met: ratio <= most }
}

/** At most so many seconds. */
export function secondsBar(work: string, row: Row, most: number, ours = OURS): Bar {
  const median = row.results.get(ours)?.median ?? Number.NaN
  return { work, bar: `≤ ${most} s`, measured: `${median.toFixed(3)} s`, met: median <= most }
}
