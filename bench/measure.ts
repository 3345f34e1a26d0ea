import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import koffi from 'koffi'

/** One run of a command. */
export interface Run {
  readonly seconds: number
  /** Of all processors, in user mode and in the kernel: what other work on the machine disturbs least. */
  readonly cpuSeconds: number
  /** Of the largest process. */
  readonly peakBytes: number
  readonly output: string
}

export interface Summary {
  readonly median: number
  readonly least: number
  readonly most: number
  readonly cpuMedian: number
  readonly peakBytes: number
}

/** What is taken of a run for the tables; figures that a command reports itself have no more than this. */
export type Sample = Pick<Run, 'seconds'> & Partial<Run>

/**
 * Runs a program, or a line for a shell, and takes its time. With `syncPath`, that file system is on disk at its end, which counts.
 * @throws if it fails
 */
export function run(command: string | readonly string[], syncPath?: string): Run {
  const argv = typeof command === 'string' ? ['sh', '-c', command] : command
  const report = `${os.tmpdir()}/bench-peak-${process.pid}`
  const cpuBefore = cpuSecondsOfChildren()
  const started = performance.now()
  const done = spawnSync('/usr/bin/time', ['-o', report, '-f', '%M', ...argv], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (syncPath !== undefined) spawnSync('sync', ['-f', syncPath])
  const seconds = (performance.now() - started) / 1000
  const cpuSeconds = cpuSecondsOfChildren() - cpuBefore
  if (done.status !== 0) throw new Error(`${argv.join(' ')}\n${(done.stdout + done.stderr).slice(-2000)}`)
  const peakBytes = Number(fs.readFileSync(report, 'utf8').trim()) * 1024
  fs.rmSync(report)
  return { seconds, cpuSeconds, peakBytes, output: done.stdout }
}

const getResourceUsage = koffi.load(null).func('int getrusage(int who, _Out_ uint8_t *usage)')
const CHILDREN = -1
const USAGE_BYTES = 144

function cpuSecondsOfChildren(): number {
  const usage = Buffer.alloc(USAGE_BYTES)
  getResourceUsage(CHILDREN, usage)
  const secondsAt = (at: number): number =>
    Number(usage.readBigInt64LE(at)) + Number(usage.readBigInt64LE(at + 8)) / 1e6
  return secondsAt(0) + secondsAt(16)
}

export function quoteShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

export function summarize(runs: readonly Sample[]): Summary {
  const seconds = runs.map(run => run.seconds).sort((a, b) => a - b)
  return {
    median: medianOf(seconds),
    least: seconds[0],
    most: seconds[seconds.length - 1],
    cpuMedian: medianOf(runs.map(({ cpuSeconds = 0 }) => cpuSeconds)),
    peakBytes: Math.max(...runs.map(({ peakBytes = 0 }) => peakBytes)),
  }
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The runs of several tools at one kind of work. */
export interface Samples {
  add(name: string, sample: Sample): void
  summaries(): Map<string, Summary>
}

export function collectSamples(): Samples {
  const samples = new Map<string, Sample[]>()
  return {
    add: (name, sample) => void samples.set(name, [...(samples.get(name) ?? []), sample]),
    summaries: () => new Map([...samples].map(([name, list]) => [name, summarize(list)])),
  }
}

/** Forgets all that the kernel has read. */
export function dropCaches(): void {
  spawnSync('sync')
  fs.writeFileSync('/proc/sys/vm/drop_caches', '3')
}

/**
 * Has every file of a tree in memory, and nothing else, whoever was there before: borg drops what it has read from the caches, so that
 * who came after it started cold; and ext4 looks at every inode in its caches that was deleted a short while ago before it takes another.
 */
export function warmCaches(tree: string): void {
  dropCaches()
  const { status, stderr } = spawnSync('sh', ['-c', 'find "$1" -type f -print0 | xargs -0 cat > /dev/null', 'sh', tree])
  if (status !== 0) throw new Error(`reading ${tree}: ${stderr.toString()}`)
}

/** Bytes that a directory takes on disk. */
export function diskBytes(path: string): number {
  const { stdout } = spawnSync('du', ['-s', '--block-size=1', path], { encoding: 'utf8' })
  return Number(stdout.split('\t')[0])
}
