import { type Bench, inTurn } from './context.ts'
import { collectSamples, diskBytes, run } from './measure.ts'
import { type Peer } from './peers.ts'
import { type Findings, ratioBar, type Row } from './report.ts'

/** Removal of one version of many, with everything that only it needed, at once. */
export function benchCollection(bench: Bench, tools: readonly Peer[], storeOf: (tool: Peer) => string): Findings {
  const collectors = tools.filter(({ remove }) => remove !== undefined)
  const samples = collectSamples()
  const freed = new Map<string, number>()
  for (let round = 0; round < bench.rounds; round++) {
    bench.say(`collection, round ${round + 1} of ${bench.rounds}`)
    const tag = `v${2 + round}`
    for (const tool of inTurn(collectors, round)) {
      const store = storeOf(tool)
      const before = diskBytes(store)
      samples.add(tool.name, run((tool.remove as NonNullable<Peer['remove']>)(store, tag), bench.folder))
      freed.set(tool.name, (freed.get(tool.name) ?? 0) + before - diskBytes(store))
      requireGone(tool, store, tag)
    }
  }
  for (const [name, bytes] of freed) if (bytes <= 0) throw new Error(`${name} freed nothing`)
  const row: Row = {
    work: `removal of one of ${bench.commits} versions, and collection`,
    results: samples.summaries(),
    bytes: freed,
    note: `On disk: what ${bench.rounds} removals freed.`,
  }
  const bars = ['restic', 'ostree'].map(peer => ratioBar('collection after removal of one tag', row, 1, peer))
  return { rows: [row], bars }
}

/** The version must not be there any more, and the one after it must be whole. */
function requireGone(tool: Peer, store: string, tag: string): void {
  let left = 0
  try {
    left = tool.count(store, tag)
  } catch {
    // That is what most say to a version that does not exist.
  }
  if (left > 0) throw new Error(`${tool.name} still has ${tag}`)
  const next = `v${Number(tag.slice(1)) + 1}`
  if (tool.count(store, next) === 0) throw new Error(`${tool.name} lost ${next}`)
}
