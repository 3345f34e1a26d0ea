import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { type Bench, inTurn } from './context.ts'
import { changeOnePercent } from './data.ts'
import { collectSamples, diskBytes, dropCaches, run } from './measure.ts'
import { type Peer, requireStored } from './peers.ts'
import { type Bar, type Findings, OURS, ratioBar, type Row, times } from './report.ts'

type Caches = 'cold' | 'warm'

/** First save of a directory, and save again with one in a hundred files changed, by every tool; with cold caches, then with warm ones. */
export function benchSaves(bench: Bench): Findings {
  const found = (['cold', 'warm'] as const).map(caches => {
    const rows = savesWith(bench, caches)
    return { rows, bars: barsOf(rows, caches) }
  })
  return { rows: found.flatMap(({ rows }) => rows), bars: found.flatMap(({ bars }) => bars) }
}

function savesWith(bench: Bench, caches: Caches): [Row, Row] {
  const { folder, rounds, peers, tree } = bench
  const first = collectSamples()
  const again = collectSamples()
  const bytes = new Map<string, number>()
  const source = `${folder}/source`
  for (let round = 0; round < rounds; round++) {
    bench.say(`saving, ${caches}, round ${round + 1} of ${rounds}`)
    execFileSync('cp', ['-a', tree, source])
    const order = inTurn(peers, round)
    for (const peer of order) {
      peer.init(storeOf(bench, peer))
      warmUp(source, caches)
      first.add(peer.name, run(peer.save(storeOf(bench, peer), source, 'v1'), folder))
    }
    const [sample] = changeOnePercent(source, round + 1)
    for (const peer of order) {
      const store = storeOf(bench, peer)
      if (caches === 'cold') dropCaches()
      again.add(peer.name, run(peer.save(store, source, 'v2'), folder))
      if (round === 0) requireStored(peer, store, source, { tag: 'v2', sample })
      bytes.set(peer.name, diskBytes(store))
      fs.rmSync(store, { recursive: true })
    }
    fs.rmSync(source, { recursive: true })
  }
  return [
    { work: `first save, ${caches}`, results: first.summaries() },
    { work: `save again, 1 % changed, ${caches}`, results: again.summaries(), bytes },
  ]
}

function storeOf({ folder }: Bench, { name }: Peer): string {
  return `${folder}/store-${name.replaceAll(/\W/g, '')}`
}

function warmUp(source: string, caches: Caches): void {
  if (caches === 'cold') dropCaches()
  else execFileSync('sh', ['-c', `find '${source}' -type f -exec cat {} + > /dev/null; sync`])
}

function barsOf([first, again]: [Row, Row], caches: Caches): Bar[] {
  const peers = ['cp -a', 'git', 'ostree', 'restic', 'borg', 'mkcomposefs']
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
