import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import { judge } from './bars.ts'
import type { Load } from './load.ts'

export interface Row {
  readonly work: string
  /** Volumes that were published besides. */
  readonly published: number
  readonly load: Load
}

export interface Results {
  readonly rows: Row[]
  /** MiB, resident. */
  readonly memory: [when: string, mebibytes: number][]
  /** Milliseconds from starting the process to its first answer. */
  readonly starts: [what: string, milliseconds: number][]
}

export function writeResults(file: string, results: Results): void {
  const { rows, memory, starts } = results
  const [cpu] = os.cpus()
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  }).trim()
  const lines = [
    '# The CSI driver over its socket',
    '',
    `\`node bench/csi/bench.ts\`, ${new Date().toISOString().slice(0, 10)}, ${commit}: ${os.cpus().length} × ${cpu.model.trim()}, ` +
      `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${os.release()}. The load generator runs on the same processors; load average ${os.loadavg()[0].toFixed(1)}. ` +
      'Times are those of the client, from sending a request to its answer. Each call is one of a pod of its own.',
    '',
    '| bar | | worst measured | |',
    '|---|---|---|---|',
    ...judge(results).map(
      ({ what, bar, measured, isMet }) => `| ${what} | ${bar} | ${measured} | ${isMet ? 'met' : '**missed**'} |`,
    ),
    '',
    '| work | published besides | in flight | calls | p50 ms | p99 ms | calls/s |',
    '|---|---|---|---|---|---|---|',
    ...rows.map(
      ({ work, published, load }) =>
        `| ${work} | ${published} | ${load.inFlight} | ${load.calls} | ${load.p50.toFixed(1)} | ${load.p99.toFixed(1)} | ${load.perSecond.toFixed(0)} |`,
    ),
    '',
    '| start of the process to its first answer | ms |',
    '|---|---|',
    ...starts.map(([what, milliseconds]) => `| ${what} | ${milliseconds.toFixed(0)} |`),
    '',
    '| resident memory | MiB |',
    '|---|---|',
    ...memory.map(([when, mebibytes]) => `| ${when} | ${mebibytes.toFixed(0)} |`),
    '',
  ]
  fs.writeFileSync(file, lines.join('\n'))
}
