import fs from 'node:fs'
import path from 'node:path'
import { type Bench, inTurn } from './context.ts'
import { changeFiles } from './data.ts'
import { writeHugeArchive } from './huge-archive.ts'
import { collectSamples, dropCaches, run } from './measure.ts'
import { type Bar, type Findings, megabytes, OURS, ratioBar, type Row, secondsBar } from './report.ts'
import { call, mounted, stratum } from './stratum.ts'

const CHANGES = 100
const COMMIT_MAX_S = 3
const PEAK_MAX_BYTES = 400e6
const MOUNT_MAX_S = 0.12
const TIMES_AS_MANY = 4
const TIMES_AS_LARGE = 20
const SMALL = 'small tree'
const HUGE = `${TIMES_AS_LARGE} times as large`

/** A tree of a million entries: what a mount of it costs, and a commit of few changes. */
export function benchHuge(bench: Bench): Findings {
  const { folder, hugeEntries } = bench
  const small = `${folder}/small-store`
  const huge = `${folder}/huge-store`
  storeTree(bench, small, hugeEntries / TIMES_AS_LARGE)
  const files = storeTree(bench, huge, hugeEntries)
  const found = [benchMount(bench, { small, huge }), benchCommit(bench, huge, files)]
  bench.say('removing the stores')
  for (const store of [small, huge]) fs.rmSync(store, { recursive: true })
  return { rows: found.flatMap(({ rows }) => rows), bars: found.flatMap(({ bars }) => bars) }
}

function storeTree(bench: Bench, store: string, entries: number): string[] {
  bench.say(`storing ${entries} entries`)
  const archive = `${bench.folder}/tree.tar`
  const files = writeHugeArchive(archive, entries)
  call(store, 'import', archive, '--label', 'bench', '--tag', 'v1')
  fs.rmSync(archive)
  return files
}

/** The whole process, HEAD writable, on both trees in turn. */
function benchMount(bench: Bench, { small, huge }: { small: string; huge: string }): Findings {
  const warm = collectSamples()
  const cold = collectSamples()
  const mountpoint = path.join(bench.folder, 'mountpoint')
  fs.mkdirSync(mountpoint)
  for (let round = 0; round < bench.rounds * TIMES_AS_MANY; round++) {
    bench.say(`mounting, round ${round + 1} of ${bench.rounds * TIMES_AS_MANY}`)
    for (const [name, store] of inTurn([[SMALL, small] as const, [HUGE, huge] as const], round)) {
      const isCold = round < bench.rounds
      if (isCold) dropCaches()
      const samples = isCold ? cold : warm
      samples.add(name, run(stratum(store, 'mount', 'bench', mountpoint)))
      if (fs.readdirSync(mountpoint).length === 0) throw new Error('nothing is mounted')
      call(store, 'unmount', 'bench')
    }
  }
  fs.rmdirSync(mountpoint)
  const entries = bench.hugeEntries / TIMES_AS_LARGE
  const note = `A tree of ${entries.toLocaleString('en')} entries, and one ${TIMES_AS_LARGE} times as large.`
  const row: Row = { work: 'mount, whole process', results: warm.summaries(), against: SMALL, note }
  const coldRow: Row = { work: 'mount, whole process, cold', results: cold.summaries(), against: SMALL, note }
  const bars: Bar[] = [secondsBar(row.work, row, MOUNT_MAX_S, SMALL), ratioBar(row.work, row, 1.1, SMALL, HUGE)]
  return { rows: [row, coldRow], bars }
}

function benchCommit(bench: Bench, store: string, files: readonly string[]): Findings {
  const samples = collectSamples()
  using head = mounted(store, 'bench', `${bench.folder}/head`)
  for (let round = 0; round < bench.rounds; round++) {
    bench.say(`commit of ${CHANGES} changes in ${bench.hugeEntries}, round ${round + 1} of ${bench.rounds}`)
    const [sample] = changeFiles(head.path, files, { count: CHANGES, seed: 100 + round })
    samples.add(OURS, run(stratum(store, 'commit', `bench:v${2 + round}`, '-q'), bench.folder))
    requireCommitted(bench, store, { tag: `v${2 + round}`, sample })
  }
  const row: Row = {
    work: `commit of ${CHANGES} changes in ${bench.hugeEntries.toLocaleString('en')} entries`,
    results: samples.summaries(),
  }
  const peak = row.results.get(OURS)?.peakBytes ?? Number.NaN
  const peakBar: Bar = {
    work: `${row.work}, peak memory`,
    bar: `≤ ${megabytes(PEAK_MAX_BYTES)}`,
    measured: megabytes(peak),
    met: peak <= PEAK_MAX_BYTES,
  }
  return { rows: [row], bars: [secondsBar(row.work, row, COMMIT_MAX_S), peakBar] }
}

function requireCommitted(bench: Bench, store: string, { tag, sample }: { tag: string; sample: string }): void {
  const { output } = run(stratum(store, 'cat', `bench:${tag}`, sample))
  if (output !== fs.readFileSync(path.join(bench.folder, 'head', sample), 'utf8'))
    throw new Error(`${tag} has other bytes for ${sample} than HEAD`)
}
