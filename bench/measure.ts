import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'

/** One run of a command. */
export interface Run {
  readonly seconds: number
  /** Of the largest process. */
  readonly peakBytes: number
}

export interface Summary {
  readonly median: number
  readonly least: number
  readonly most: number
  readonly peakBytes: number
}

/** Runs a shell command, everything on disk at its end, and takes its time. @throws if it fails */
export function run(command: string, syncPath: string, env: NodeJS.ProcessEnv = {}): Run {
  const report = `${os.tmpdir()}/bench-time-${process.pid}`
  const script = `/usr/bin/time -o ${report} -f %M sh -c ${quoteShell(command)} && sync -f ${quoteShell(syncPath)}`
  const started = performance.now()
  const { status, stderr } = spawnSync('sh', ['-c', script], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const seconds = (performance.now() - started) / 1000
  if (status !== 0) throw new Error(`${command}\n${stderr.slice(-2000)}`)
  return { seconds, peakBytes: Number(fs.readFileSync(report, 'utf8').trim()) * 1024 }
}

export function quoteShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

export function summarize(runs: readonly Run[]): Summary {
  const seconds = runs.map(run => run.seconds).sort((a, b) => a - b)
  const middle = seconds.length >> 1
  const median = seconds.length % 2 === 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2
  return {
    median,
    least: seconds[0],
    most: seconds[seconds.length - 1],
    peakBytes: Math.max(...runs.map(({ peakBytes }) => peakBytes)),
  }
}

/** Forgets all that the kernel has read. */
export function dropCaches(): void {
  spawnSync('sync')
  fs.writeFileSync('/proc/sys/vm/drop_caches', '3')
}

/** Bytes that a directory takes on disk. */
export function diskBytes(path: string): number {
  const { stdout } = spawnSync('du', ['-s', '--block-size=1', path], { encoding: 'utf8' })
  return Number(stdout.split('\t')[0])
}
