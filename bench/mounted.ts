import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { type Bench, inTurn } from './context.ts'
import { buildLargeFiles, changeFiles, listFiles } from './data.ts'
import { collectSamples, dropCaches, medianOf, quoteShell as q, type Run, run } from './measure.ts'
import { type Peer, STRATUM } from './peers.ts'
import { type Bar, type Findings, OURS, type Row, secondsBar, times } from './report.ts'
import { call, mounted, stratum } from './stratum.ts'

const CHANGES = 100
/** As of datasets and models: so large that opening one is no part of what its reading takes. */
const LARGE_FILES = { files: 8, bytes: 32 << 20 }
const SMALL_BYTES = 16 << 10
const REPEAT = { sequential: 10, small: 2 }
const PLAIN = 'plain directory'
const TAG = 'tag, mounted'
const HEAD = 'HEAD, mounted'
/** Short commands need more rounds for the same certainty. */
const TIMES_AS_MANY = 3

/** What a mounted tree costs its reader, and the commands that answer at once. */
export function benchMounted(bench: Bench): Findings {
  const { folder, tree } = bench
  const store = `${folder}/mounted-store`
  const large = `${folder}/large`
  buildLargeFiles(large, LARGE_FILES)
  call(store, 'import', tree, '--label', 'bench', '--tag', 'v1')
  call(store, 'import', large, '--label', 'large', '--tag', 'v1')
  const found: Findings[] = [benchHelp(bench)]
  found.push(benchReading(bench, store, { label: 'large', plain: large }, 'sequential'))
  found.push(benchReading(bench, store, { label: 'bench', plain: tree }, 'small'))
  {
    using head = mounted(store, 'bench', `${folder}/head`)
    found.push(benchLooking(bench, store, head.path))
  }
  for (const each of [store, large]) fs.rmSync(each, { recursive: true })
  return { rows: found.flatMap(({ rows }) => rows), bars: found.flatMap(({ bars }) => bars) }
}

/**
 * Large files from end to end, or many small ones, through the mounts and beside them. What else the machine does comes and goes within
 * minutes, so a mount is held against the plain directory of the same round, and the median of these ratios decides.
 */
function benchReading(
  bench: Bench,
  store: string,
  { label, plain }: { label: string; plain: string },
  kind: 'sequential' | 'small',
): Findings {
  using tag = mounted(store, `${label}:v1`, `${bench.folder}/tag`)
  using head = mounted(store, label, `${bench.folder}/head`)
  const places = new Map([
    [PLAIN, plain],
    [TAG, tag.path],
    [HEAD, head.path],
  ])
  const list = `${bench.folder}/files`
  const files = listFiles(plain).filter(name => kind === 'sequential' || isSmall(`${plain}/${name}`))
  const repeat = REPEAT[kind]
  fs.writeFileSync(list, files.join('\0'))
  const found = (['cold', 'warm'] as const).map(caches => {
    const samples = collectSamples()
    const ratios = collectRatios()
    const rounds = bench.rounds * (caches === 'warm' ? TIMES_AS_MANY : 1)
    for (let round = 0; round < rounds; round++) {
      bench.say(`reading, ${kind}, ${caches}, round ${round + 1} of ${rounds}`)
      const runs = new Map<string, Run>()
      for (const [name, folder] of inTurn([...places], round)) {
        const read = `cd ${q(folder)} && xargs -0 -a ${q(list)} cat > /dev/null`
        if (caches === 'cold') makeCold(`${folder}/${files[0]}`)
        else run(read)
        runs.set(name, run(caches === 'cold' ? read : Array(repeat).fill(read).join(' && ')))
      }
      for (const [name, taken] of runs) {
        samples.add(name, taken)
        ratios.add(name, taken, runs.get(PLAIN) as Run)
      }
    }
    const what = kind === 'sequential' ? 'files of 32 MiB' : 'open and read of files of at most 16 KiB'
    const row: Row = { work: `reading, ${caches}: ${what}`, results: samples.summaries(), against: PLAIN }
    const note = `${files.length} files${caches === 'warm' ? `, ${repeat} times` : ''}; ${rounds} rounds.`
    return { row: { ...row, note }, caches, ratios }
  })
  fs.rmSync(list)
  const most = { sequential: { cold: 1 / 0.95, warm: 1 / 0.95 }, small: { cold: 1.5, warm: 2 } }[kind]
  const bars = found.flatMap(({ ratios, caches }) =>
    [TAG, HEAD].map(place => ratios.bar(`reading (${kind}, ${caches}), ${place}`, place, most[caches])),
  )
  return { rows: found.map(({ row }) => row), bars }
}

/** Forgets what the kernel has read, and makes sure of it for one file. */
function makeCold(file: string): void {
  dropCaches()
  const resident = execFileSync('fincore', ['--noheadings', '--bytes', '--output', 'RES', file], { encoding: 'utf8' })
  if (Number(resident) > 0) throw new Error(`${file} is still in memory after the caches were dropped`)
}

/** What each place needs in a round, as a multiple of what the plain directory needs in the same. */
function collectRatios(): {
  add(place: string, taken: Run, plain: Run): void
  bar(work: string, place: string, most: number): Bar
} {
  const all = new Map<string, { wall: number; cpu: number }[]>()
  return {
    add(place, taken, plain) {
      const ratio = { wall: taken.seconds / plain.seconds, cpu: taken.cpuSeconds / plain.cpuSeconds }
      all.set(place, [...(all.get(place) ?? []), ratio])
    },
    bar(work, place, most) {
      const ratios = all.get(place) ?? []
      const wall = ratios.map(each => each.wall)
      const [ratio, cpu] = [medianOf(wall), medianOf(ratios.map(each => each.cpu))]
      const spread = `${times(Math.min(...wall))} to ${times(Math.max(...wall))}`
      const measured = `${times(ratio)} (${spread}), CPU ${times(cpu)}`
      return { work, bar: `≤ ${times(most)} ${PLAIN}`, measured, met: ratio <= most }
    },
  }
}

function isSmall(file: string): boolean {
  return fs.statSync(file).size <= SMALL_BYTES
}

/** `status` and `diff` of a HEAD with some changes, beside `git status` with the same. */
function benchLooking(bench: Bench, store: string, head: string): Findings {
  const { folder, tree } = bench
  const source = `${folder}/source`
  execFileSync('cp', ['-a', tree, source])
  const git = `git --git-dir=${q(`${folder}/looking.git`)} --work-tree=${q(source)}`
  const peer = bench.peers.find(({ name }) => name === 'git') as Peer
  peer.init(`${folder}/looking.git`)
  run(peer.save(`${folder}/looking.git`, source, 'v1'))
  const files = listFiles(tree)
  for (const root of [source, head]) changeFiles(root, files, { count: CHANGES, seed: 7 })
  requireChanges(store)
  const samples = { status: collectSamples(), diff: collectSamples() }
  for (let round = 0; round < bench.rounds * TIMES_AS_MANY; round++) {
    bench.say(`status and diff, round ${round + 1} of ${bench.rounds * TIMES_AS_MANY}`)
    for (const what of ['status', 'diff'] as const) {
      samples[what].add(OURS, run(stratum(store, what, 'bench')))
      samples[what].add('git', run(`${git} ${what === 'status' ? 'status --porcelain' : 'diff --stat'}`))
    }
  }
  fs.rmSync(source, { recursive: true })
  fs.rmSync(`${folder}/looking.git`, { recursive: true })
  const rows = (['status', 'diff'] as const).map(what => ({
    work: `${what} of HEAD with ${CHANGES} changes`,
    results: samples[what].summaries(),
  }))
  return { rows, bars: rows.map(row => secondsBar(row.work, row, 0.2)) }
}

function requireChanges(store: string): void {
  const { uncommitted } = call(store, 'status', 'bench') as { uncommitted: Record<string, number> }
  const { added, removed, modified } = uncommitted
  if (added + removed + modified < CHANGES * 0.9) throw new Error(`status sees ${JSON.stringify(uncommitted)}`)
}

function benchHelp(bench: Bench): Findings {
  const samples = collectSamples()
  for (let round = 0; round < bench.rounds * TIMES_AS_MANY; round++) {
    samples.add(OURS, run([STRATUM, '--help']))
    samples.add('node, doing nothing', run([process.execPath, '-e', '0']))
  }
  const row: Row = { work: 'stratum --help', results: samples.summaries() }
  const bars: Bar[] = [secondsBar('stratum --help', row, 0.1)]
  return { rows: [row], bars }
}
