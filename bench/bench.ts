import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { buildTree, changeOnePercent, LIKE_USR_SHARE } from './data.ts'
import { diskBytes, dropCaches, type Run, run, type Summary, summarize } from './measure.ts'
import { type Peer, peers } from './peers.ts'
import { type Row, writeResults } from './report.ts'

/**
 * `npm run bench [-- rounds]`: Stratum and the tools that people would use instead, on the same data in the same run, one after the other
 * in every round, everything on disk at the end of each command. Writes bench/RESULTS.md. Runs in a mount namespace of its own.
 */
const ROOT = path.resolve(import.meta.dirname, '..')
const ROUNDS = Number(process.argv[2] ?? 5)
const INSIDE = 'STRATUM_BENCH_FOLDER'

if (process.env[INSIDE] === undefined) process.exit(runInNamespace())
else await benchAll(process.env[INSIDE])

function runInNamespace(): number {
  const folder = path.join(process.env.STRATUM_BENCH_SCRATCH ?? '/var/tmp', 'stratum-bench')
  fs.mkdirSync(folder, { recursive: true })
  const { status } = spawnSync(
    'unshare',
    ['--mount', '--propagation', 'private', process.execPath, import.meta.filename, ...process.argv.slice(2)],
    {
      stdio: 'inherit',
      env: { ...process.env, [INSIDE]: folder, STRATUM_RUN: `${folder}/run`, TMPDIR: folder },
    },
  )
  return status ?? 130
}

async function benchAll(folder: string): Promise<void> {
  const oracle = execFileSync('sh', [path.join(ROOT, 'scripts/oracle.sh')], { encoding: 'utf8' }).trim()
  const tree = `${folder}/tree`
  say('building the tree')
  buildTree(tree, LIKE_USR_SHARE)
  const all = peers(oracle)
  const rows: Row[] = []
  rows.push(...benchSaves(folder, tree, all, 'cold'), ...benchSaves(folder, tree, all, 'warm'))
  writeResults(path.join(ROOT, 'bench/RESULTS.md'), rows, { rounds: ROUNDS, tree, peers: all, machine: machine() })
}

function say(text: string): void {
  console.error(`[${new Date().toISOString().slice(11, 19)}] ${text}`)
}

function machine(): string {
  const [cpu] = os.cpus()
  return `${os.cpus().length} × ${cpu.model.trim()}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${os.release()}`
}

/** First save, and save again with one in a hundred files changed; every peer in every round, in a turning order. */
function benchSaves(folder: string, tree: string, all: readonly Peer[], caches: 'cold' | 'warm'): Row[] {
  const first = new Map<string, Run[]>()
  const again = new Map<string, Run[]>()
  const bytes = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++) {
    const source = `${folder}/source`
    fs.rmSync(source, { recursive: true, force: true })
    execFileSync('cp', ['-a', tree, source])
    const order = all.map((_, i) => all[(i + round) % all.length])
    for (const peer of order) {
      const store = `${folder}/store-${peer.name.replaceAll(/\W/g, '')}`
      fs.rmSync(store, { recursive: true, force: true })
      peer.init(store)
      say(`${caches}, round ${round + 1} of ${ROUNDS}: ${peer.name}`)
      if (caches === 'cold') dropCaches()
      else execFileSync('sh', ['-c', `find ${source} -type f -exec cat {} + > /dev/null; sync`])
      record(first, peer.name, run(peer.save(store, source, 'v1'), folder))
    }
    changeOnePercent(source, round + 1)
    for (const peer of order) {
      const store = `${folder}/store-${peer.name.replaceAll(/\W/g, '')}`
      if (caches === 'cold') dropCaches()
      record(again, peer.name, run(peer.save(store, source, 'v2'), folder))
      requireStored(peer, store, source)
      bytes.set(peer.name, diskBytes(store))
      fs.rmSync(store, { recursive: true, force: true })
    }
  }
  return [rowOf(`first save, ${caches}`, first, bytes), rowOf(`save again, 1 % changed, ${caches}`, again, bytes)]
}

function record(into: Map<string, Run[]>, name: string, value: Run): void {
  into.set(name, [...(into.get(name) ?? []), value])
}

function rowOf(work: string, runs: ReadonlyMap<string, readonly Run[]>, bytes: ReadonlyMap<string, number>): Row {
  const results = new Map<string, Summary>([...runs].map(([name, list]) => [name, summarize(list)]))
  return { work, results, bytes }
}

/** A peer that stored nothing is fast. */
function requireStored(peer: Peer, store: string, source: string): void {
  const expected = fs
    .readdirSync(source, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile()).length
  const stored = peer.count(store, 'v2')
  if (stored < expected) throw new Error(`${peer.name} stored ${stored} of ${expected} files`)
}
