import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench } from './context.ts'
import { buildTree, LIKE_USR_SHARE, type TreeShape } from './data.ts'
import { benchHead } from './head.ts'
import { benchHuge } from './huge.ts'
import { benchMounted } from './mounted.ts'
import { peers } from './peers.ts'
import { type Bar, type Findings, type Row, writeResults } from './report.ts'
import { benchSaves } from './saves.ts'

/**
 * `npm run bench [-- rounds]`: Stratum and the tools that people would use instead, on the same data in the same run, one after the other
 * in every round, everything on disk at the end of each command. Writes bench/RESULTS.md. Runs in a mount namespace of its own and leaves
 * nothing behind. `--quick` is a smoke test on small trees (its figures mean nothing); `--only head,huge` runs single parts, and
 * `--results <file>` writes them elsewhere. After `--minutes` (14) no further round of saves begins.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    minutes: { type: 'string', default: '14' },
    results: { type: 'string' },
  },
})
const PARTS: Readonly<Record<string, (bench: Bench) => Findings>> = {
  huge: benchHuge,
  mounted: benchMounted,
  head: benchHead,
  saves: benchSaves,
}
const ROOT = path.resolve(import.meta.dirname, '..')
const QUICK_SHAPE: TreeShape = { ...LIKE_USR_SHARE, files: 4_000, directories: 300 }
const INSIDE = 'STRATUM_BENCH_FOLDER'

if (process.env[INSIDE] === undefined) process.exit(runInNamespace())
else benchAll(process.env[INSIDE])

function runInNamespace(): number {
  const folder = fs.mkdtempSync(path.join(process.env.STRATUM_BENCH_SCRATCH ?? '/var/tmp', 'stratum-bench-'))
  const inside = { ...process.env, [INSIDE]: folder, STRATUM_RUN: `${folder}/run`, TMPDIR: folder }
  // Ctrl-C reaches the benchmark itself; this process stays to clear away.
  process.on('SIGINT', () => undefined).on('SIGTERM', () => undefined)
  try {
    const { status } = spawnSync(
      'unshare',
      ['--mount', '--propagation', 'private', process.execPath, import.meta.filename, ...process.argv.slice(2)],
      { stdio: 'inherit', env: inside },
    )
    return status ?? 130
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function benchAll(folder: string): void {
  const started = performance.now()
  const load = os.loadavg()[0].toFixed(1)
  const { quick, only, results } = values
  const rounds = Number(positionals[0] ?? (quick ? 1 : 5))
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error(`${positionals[0]} is no number of rounds`)
  const bench: Bench = {
    folder,
    rounds,
    peers: peers(execFileSync('sh', [path.join(ROOT, 'scripts/oracle.sh')], { encoding: 'utf8' }).trim()),
    tree: `${folder}/tree`,
    shape: quick ? QUICK_SHAPE : LIKE_USR_SHARE,
    commits: quick ? 5 : 20,
    hugeEntries: quick ? 30_000 : 1_000_000,
    hasTime: () => performance.now() - started < Number(values.minutes) * 0.8 * 60_000,
    say,
  }
  say('building the tree')
  buildTree(bench.tree, bench.shape)
  const rows: Row[] = []
  const bars: Bar[] = []
  for (const name of only?.split(',') ?? Object.keys(PARTS)) {
    const began = performance.now()
    const found = PARTS[name](bench)
    say(`${name}: ${((performance.now() - began) / 60_000).toFixed(1)} minutes`)
    rows.push(...found.rows)
    bars.push(...found.bars)
  }
  const minutes = (performance.now() - started) / 60_000
  const entries = bench.shape.files + bench.shape.directories + 1
  const file = results ?? path.join(ROOT, 'bench', quick ? 'RESULTS.quick.md' : 'RESULTS.md')
  writeResults(file, { rows, bars }, { ...bench, entries, machine: machine(), load, minutes })
  say(`written to ${file} after ${minutes.toFixed(1)} minutes`)
}

function say(text: string): void {
  console.error(`[${new Date().toISOString().slice(11, 19)}] ${text}`)
}

function machine(): string {
  const [cpu] = os.cpus()
  return `${os.cpus().length} × ${cpu.model.trim()}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${os.release()}`
}
