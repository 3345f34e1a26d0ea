import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { buildTree, LIKE_USR_SHARE } from '../data.ts'
import { benchHeads } from './heads.ts'
import { buildProgram, createMount, type Driver, type Mount, program, startDriver } from './driver.ts'
import { runCalls, summarize, type Times } from './load.ts'
import { type Results, writeResults } from './report.ts'

/**
 * `node bench/csi/bench.ts [calls]`: the CSI driver over its socket, in a mount namespace of its own: calls one at a time and many at
 * once, with few and many volumes published, small and large trees; then memory, and a start with many volumes. Writes bench/csi/RESULTS.md.
 */
const CALLS = Number(process.argv[2] ?? 2000)
const CYCLES = 10_000
const INSIDE = 'STRATUM_BENCH_FOLDER'
const IN_FLIGHT = [1, 8, 64]
const PUBLISHED = [10, 1000]

if (process.env[INSIDE] === undefined) process.exit(runInNamespace())
else await benchAll(process.env[INSIDE])

function runInNamespace(): number {
  const folder = path.join(process.env.STRATUM_BENCH_SCRATCH ?? '/var/tmp', 'stratum-bench-csi')
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  const { status } = spawnSync(
    'unshare',
    ['--mount', '--propagation', 'private', process.execPath, import.meta.filename, ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: folder, STRATUM_RUN: `${folder}/run` } },
  )
  return status ?? 130
}

function say(text: string): void {
  console.error(`[${new Date().toISOString().slice(11, 19)}] ${text}`)
}

async function benchAll(folder: string): Promise<void> {
  const large = path.join(path.dirname(folder), 'stratum-bench', 'tree')
  fs.mkdirSync(path.dirname(large), { recursive: true })
  say('building the program and the trees')
  buildProgram(folder)
  mountRun(`${folder}/run`)
  const [node, main] = program(folder)
  const run = (args: string[]): Buffer => execFileSync(node, [main, ...args], { stdio: 'pipe' })
  buildTree(large, LIKE_USR_SHARE)
  buildTree(`${folder}/small`, { ...LIKE_USR_SHARE, files: 10, directories: 1 })
  for (const [tree, label] of [
    [large, 'bench/large'],
    [`${folder}/small`, 'bench/small'],
  ])
    run(['import', tree, '--label', label, '--tag', 'v1', '--store', `${folder}/store`])
  const results: Results = { rows: [], memory: [], starts: [] }
  let driver = await startDriver(folder)
  results.memory.push(['idle, just started', driver.memory()])
  const background: Mount[] = []
  for (const count of PUBLISHED) {
    await fill(driver, background, count)
    await benchNode(driver, results, count)
  }
  say('start with many volumes')
  await driver.kill()
  driver = await startDriver(folder)
  results.starts.push([`${background.length} published`, driver.startMs])
  await checkFirst(background)
  await runCalls(
    background.map(mount => mount.unpublish),
    8,
  ).catch(() => undefined)
  await driver.kill()
  driver = await startDriver(folder)
  results.starts.push(['nothing published', driver.startMs])
  await benchMemory(driver, results)
  await benchHeads(driver, results, { small: `${folder}/small`, large, say })
  await driver.kill()
  writeResults(path.join(import.meta.dirname, 'RESULTS.md'), results)
}

/** What is of this boot lies in memory, as /run does. */
function mountRun(run: string): void {
  fs.mkdirSync(run)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', run])
}

async function fill(driver: Driver, background: Mount[], count: number): Promise<void> {
  const more = Array.from({ length: count - background.length }, (_, i) =>
    createMount(driver, `filler-${background.length + i}`, { label: 'bench/small', tag: 'v1' }),
  )
  await runCalls(
    more.map(mount => mount.publish),
    8,
  )
  background.push(...more)
}

async function checkFirst(background: readonly Mount[]): Promise<void> {
  for (const mount of background.slice(0, 3))
    if (fs.readdirSync(mount.target).length === 0) throw new Error('lost a mount')
}

async function benchNode(driver: Driver, results: Results, published: number): Promise<void> {
  for (const tree of ['small', 'large']) {
    for (const inFlight of IN_FLIGHT) {
      say(`${published} published, ${tree} tree, ${inFlight} in flight`)
      const calls = inFlight === 1 ? CALLS / 4 : CALLS
      const mounts = Array.from({ length: calls }, (_, i) =>
        createMount(driver, `pv-${i}`, { label: `bench/${tree}`, tag: 'v1' }),
      )
      await measure(results, { work: `a tag, ${tree} tree`, published }, mounts, inFlight)
    }
  }
}

/** In rounds, each target taken back before the next ones come, so that the number of volumes stays what it says. */
async function measure(
  results: Results,
  { work, published }: { readonly work: string; readonly published: number },
  mounts: readonly Mount[],
  inFlight: number,
): Promise<void> {
  const size = Math.max(100, inFlight * 4)
  const times = { publish: [] as Times[], repeat: [] as Times[], stats: [] as Times[], unpublish: [] as Times[] }
  for (let at = 0; at < mounts.length; at += size) {
    const round = mounts.slice(at, at + size)
    for (const kind of ['publish', 'repeat', 'stats', 'unpublish'] as const) {
      const calls = round.map(mount => (kind === 'repeat' ? mount.publish : mount[kind]))
      times[kind].push(await runCalls(calls, inFlight))
    }
    for (const { target } of round) fs.rmSync(path.resolve(target, '../../../..'), { recursive: true })
  }
  for (const kind of ['publish', 'repeat', 'stats', 'unpublish'] as const)
    results.rows.push({ work: `${kind}: ${work}`, published, load: summarize(times[kind], inFlight) })
}

async function benchMemory(driver: Driver, results: Results): Promise<void> {
  const mounts = Array.from({ length: 8 }, (_, i) =>
    createMount(driver, `cycle-${i}`, { label: 'bench/small', tag: 'v1' }),
  )
  for (let done = 0; done < CYCLES; done += CYCLES / 4) {
    say(`${done} cycles`)
    const cycles = Array.from({ length: CYCLES / 4 }, (_, i) => async () => {
      const { publish, unpublish } = mounts[i % mounts.length]
      await publish()
      await unpublish()
    })
    // A target has one call at a time, as kubelet has it.
    await Promise.all(
      mounts.map((_, i) =>
        runCalls(
          cycles.filter((_, n) => n % mounts.length === i),
          1,
        ),
      ),
    )
    results.memory.push([`after ${done + CYCLES / 4} cycles of publish and unpublish`, driver.memory()])
  }
}
