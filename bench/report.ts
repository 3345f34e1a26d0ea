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
}

interface Facts {
  readonly rounds: number
  readonly tree: string
  readonly peers: readonly Peer[]
  readonly machine: string
}

const OURS = 'stratum'

/** One table for each kind of work: medians, spread, ratio to ours, peak memory, bytes on disk. */
export function writeResults(file: string, rows: readonly Row[], { rounds, peers, machine }: Facts): void {
  const text = [
    '# Results',
    '',
    `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: ${machine}. ${rounds} rounds, all tools in turn in each, every command with all its`,
    'data on disk at the end (`sync -f`). Seconds are medians; the ratio is to Stratum in the same rounds; memory is that of the largest process.',
    '',
    peers.map(({ name, version }) => `- ${name}: ${version}`).join('\n'),
    '',
    ...rows.map(tableOf),
  ].join('\n')
  fs.writeFileSync(file, text)
}

function tableOf({ work, results, bytes, note }: Row): string {
  const ours = results.get(OURS)?.median
  const lines = [...results]
    .sort(([, a], [, b]) => a.median - b.median)
    .map(([name, { median, least, most, peakBytes }]) => {
      const ratio = ours === undefined || name === OURS ? '' : `${(median / ours).toFixed(2)} ×`
      const size = bytes?.get(name)
      return `| ${name} | ${median.toFixed(3)} | ${least.toFixed(3)} to ${most.toFixed(3)} | ${ratio} | ${megabytes(peakBytes)} | ${size === undefined ? '' : megabytes(size)} |`
    })
  return [
    `## ${work}`,
    '',
    ...(note === undefined ? [] : [note, '']),
    '| tool | s | spread | ratio | peak memory | on disk |',
    '|---|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}

function megabytes(bytes: number): string {
  return bytes === 0 ? '' : `${(bytes / 1e6).toFixed(0)} MB`
}
