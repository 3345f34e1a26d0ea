import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import { benchCollection } from './collect.ts'
import { type Bench, inTurn } from './context.ts'
import { changeOnePercent } from './data.ts'
import { collectSamples, diskBytes, run } from './measure.ts'
import { type Peer, requireStored } from './peers.ts'
import { type Bar, type Findings, megabytes, OURS, ratioBar, type Row, secondsBar } from './report.ts'
import { call, mounted, stratum } from './stratum.ts'

const PEERS = [OURS, 'git', 'ostree', 'restic', 'borg']
const BLOCK = 4096
/** What is smaller lies in the image. */
const INLINE_BYTES_MAX = 64
const PAUSE_MAX_S = 0.05

/**
 * A history: one in a hundred files is changed, in HEAD and in a plain directory alike, and everybody makes a version of it; many times.
 * Then what it takes on disk, how long `--freeze` stops a writer, and what removing single versions costs.
 */
export function benchHead(bench: Bench): Findings {
  const { folder, tree, peers } = bench
  const tools = peers.filter(({ name }) => PEERS.includes(name))
  const source = `${folder}/source`
  execFileSync('cp', ['-a', tree, source])
  for (const tool of tools) {
    tool.init(storeOf(bench, tool))
    run(tool.save(storeOf(bench, tool), source, 'v0'), folder)
  }
  const ours = storeOf(bench, tools.find(({ name }) => name === OURS) as Peer)
  const found: Findings[] = []
  {
    using head = mounted(ours, 'bench', `${folder}/head`)
    found.push(benchCommits(bench, tools, { head: head.path, source }))
    found.push(benchPause(bench, ours, head.path))
    found.push(benchCollection(bench, tools, tool => storeOf(bench, tool)))
  }
  for (const tool of tools) fs.rmSync(storeOf(bench, tool), { recursive: true })
  fs.rmSync(source, { recursive: true })
  return { rows: found.flatMap(({ rows }) => rows), bars: found.flatMap(({ bars }) => bars) }
}

function storeOf({ folder }: Bench, { name }: Peer): string {
  return `${folder}/history-${name}`
}

function benchCommits(
  bench: Bench,
  tools: readonly Peer[],
  { head, source }: { head: string; source: string },
): Findings {
  const { folder, commits } = bench
  const samples = collectSamples()
  const before = sizesOf(bench, tools)
  let added = 0
  let sample = ''
  for (let i = 1; i <= commits; i++) {
    bench.say(`history, commit ${i} of ${commits}`)
    const written = changeOnePercent(source, i)
    changeOnePercent(head, i)
    added += blocksOf(source, written)
    sample = [...written][0]
    for (const tool of inTurn(tools, i)) {
      const store = storeOf(bench, tool)
      const command =
        tool.name === OURS ? stratum(store, 'commit', `bench:v${i}`, '-q') : tool.save(store, source, `v${i}`)
      samples.add(tool.name, run(command, folder))
    }
  }
  for (const tool of tools) requireStored(tool, storeOf(bench, tool), source, { tag: `v${commits}`, sample })
  const after = sizesOf(bench, tools)
  const growth = new Map(tools.map(({ name }) => [name, grown(before, after, name)]))
  const [objects, images] = ['objects', 'commits'].map(part => grown(before, after, part))
  const row: Row = {
    work: `commit of HEAD, 1 % changed (${commits} commits one after the other)`,
    results: samples.summaries(),
    bytes: growth,
    note:
      `On disk: what the ${commits} versions added to the store. The changed files, each whole and in blocks of 4 KiB, are ${megabytes(added)}; ` +
      `of Stratum's share, ${megabytes(objects)} are objects and ${megabytes(images)} images.`,
  }
  return { rows: [row], bars: [...commitBars(row), bytesBar(commits, objects, added)] }
}

function commitBars(row: Row): Bar[] {
  const others = ['ostree', 'restic', 'borg'].map(peer => ratioBar('commit of HEAD, 1 % changed', row, 0.4, peer))
  return [ratioBar('commit of HEAD, 1 % changed', row, 0.7, 'git'), ...others]
}

function bytesBar(commits: number, objects: number, added: number): Bar {
  const ratio = objects / added
  return {
    work: `bytes in store after ${commits} commits of 1 %, without images`,
    bar: '≤ content added + 5 %',
    measured: `content ${ratio < 1 ? '-' : '+'} ${Math.abs((ratio - 1) * 100).toFixed(1)} %`,
    met: ratio <= 1.05,
  }
}

/** Bytes on disk of each store, and of the parts of ours. */
function sizesOf(bench: Bench, tools: readonly Peer[]): Map<string, number> {
  const sizes = new Map(tools.map(tool => [tool.name, diskBytes(storeOf(bench, tool))]))
  const ours = storeOf(bench, tools.find(({ name }) => name === OURS) as Peer)
  for (const part of ['objects', 'commits']) sizes.set(part, diskBytes(`${ours}/${part}`))
  return sizes
}

function grown(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>, name: string): number {
  return (after.get(name) ?? 0) - (before.get(name) ?? 0)
}

function blocksOf(root: string, files: ReadonlySet<string>): number {
  return [...files]
    .map(name => fs.statSync(`${root}/${name}`).size)
    .filter(size => size > INLINE_BYTES_MAX)
    .reduce((sum, size) => sum + Math.ceil(size / BLOCK) * BLOCK, 0)
}

/** How long a process that writes all the time stands still. */
function benchPause(bench: Bench, store: string, head: string): Findings {
  const samples = collectSamples()
  const { status, writer } = startWriter(head)
  try {
    for (let round = 0; round < bench.rounds; round++) {
      bench.say(`pause, round ${round + 1} of ${bench.rounds}`)
      changeOnePercent(head, 1000 + round)
      const { pauseMs } = call(store, 'commit', 'bench', '--freeze') as { pauseMs: number }
      samples.add(OURS, { seconds: pauseMs / 1000 })
    }
    if (writer.exitCode !== null || fs.statSync(status).size === 0) throw new Error('the writer did not write')
  } finally {
    writer.kill()
  }
  const row = {
    work: 'pause of a writer in commit --freeze, 1 % changed',
    results: samples.summaries(),
    note: 'As the command reports it, for a process that appends to an open file of HEAD without end.',
  }
  return { rows: [row], bars: [secondsBar('pause of commit --freeze', row, PAUSE_MAX_S)] }
}

function startWriter(head: string): { status: string; writer: ChildProcess } {
  const status = `${head}/written-all-the-time`
  const script = 'exec >> "$0"; while :; do echo line; sleep 0.01; done'
  return { status, writer: spawn('sh', ['-c', script, status], { stdio: 'ignore', cwd: '/' }) }
}
