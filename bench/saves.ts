import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { type Bench, inTurn } from './context.ts'
import { changeOnePercent } from './data.ts'
import { collectSamples, diskBytes, dropCaches, run, warmCaches, type Samples } from './measure.ts'
import { type Peer, requireStored } from './peers.ts'
import { type Bar, type Findings, OURS, ratioBar, type Row, times } from './report.ts'

/** Their time goes into one sync for each file, or into compressing: warm caches would show nothing new, and the run has its limit. */
const COLD_ONLY = ['tar+zstd', 'mkcomposefs']

type Caches = 'cold' | 'warm'

const prepare: Readonly<Record<Caches, (source: string) => void>> = { cold: dropCaches, warm: warmCaches }

/**
 * First save of a directory, and save again with one in a hundred files changed, by every tool; with cold caches and with warm ones. What
 * takes longest comes last: when the time is over, no further round begins.
 */
export function benchSaves(bench: Bench): Findings {
  const kinds = (['cold', 'warm'] as const).map(caches => ({
    caches,
    first: collectSamples(),
    again: collectSamples(),
  }))
  const bytes = new Map<string, number>()
  let round = 0
  for (; round < bench.rounds && (round === 0 || bench.hasTime()); round++)
    for (const kind of kinds) saveAll(bench, round, kind, bytes)
  const note = round === 1 ? 'One round.' : `${round} rounds.`
  const found = kinds.map(({ caches, first, again }) => {
    const rows: [Row, Row] = [
      { work: `first save, ${caches}`, results: first.summaries(), note },
      { work: `save again, 1 % changed, ${caches}`, results: again.summaries(), bytes, note },
    ]
    return { rows, bars: barsOf(rows, caches) }
  })
  return { rows: found.flatMap(({ rows }) => rows), bars: found.flatMap(({ bars }) => bars) }
}

interface Kind {
  readonly caches: Caches
  readonly first: Samples
  readonly again: Samples
}

/** Every tool once, in an order that turns from round to round. */
function saveAll(bench: Bench, round: number, { caches, first, again }: Kind, bytes: Map<string, number>): void {
  const { folder, peers, tree } = bench
  bench.say(`saving, ${caches}, round ${round + 1} of ${bench.rounds}`)
  const source = `${folder}/source`
  execFileSync('cp', ['-a', tree, source])
  execFileSync('sync')
  const order = inTurn(caches === 'cold' ? peers : peers.filter(({ name }) => !COLD_ONLY.includes(name)), round)
  for (const peer of order) {
    peer.init(storeOf(bench, peer))
    prepare[caches](source)
    const saved = run(peer.save(storeOf(bench, peer), source, 'v1'), folder)
    bench.say(`  ${peer.name}: ${saved.seconds.toFixed(1)} s`)
    first.add(peer.name, saved)
  }
  const [sample] = changeOnePercent(source, round + 1)
  for (const peer of order) {
    const store = storeOf(bench, peer)
    prepare[caches](source)
    again.add(peer.name, run(peer.save(store, source, 'v2'), folder))
    if (round === 0) requireStored(peer, store, source, { tag: 'v2', sample })
    bytes.set(peer.name, diskBytes(store))
    fs.rmSync(store, { recursive: true })
  }
  fs.rmSync(source, { recursive: true })
}

function storeOf({ folder }: Bench, { name }: Peer): string {
  return `${folder}/store-${name.replaceAll(/\W/g, '')}`
}

function barsOf([first, again]: [Row, Row], caches: Caches): Bar[] {
  const peers = ['cp -a', 'git', 'ostree', 'restic', 'borg', 'mkcomposefs'].filter(name => first.results.has(name))
  const ours = { first: first.results.get(OURS)?.median ?? 0, again: again.results.get(OURS)?.median ?? 0 }
  const ratio = ours.again / ours.first
  return [
    ...peers.map(peer => ratioBar(`import, ${caches}`, first, 1, peer)),
    {
      work: `import again, 1 % changed, ${caches}`,
      bar: `≤ ${times(0.35)} the first`,
      measured: times(ratio),
      met: ratio <= 0.35,
    },
  ]
}
