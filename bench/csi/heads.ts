import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMount, type Driver, type Mount } from './driver.ts'
import { runCalls, summarize, type Times } from './load.ts'
import type { Results } from './report.ts'

const VOLUMES = 100
const RESTORES = 20
const ROUNDS = 10
const CHANGES = 100
/** Twice what the plugin waits for before it frees what many calls left. */
const QUIET_MS = 10_000
/** The last target of a HEAD takes its overlay along, and the fold comes, after the call was answered. */
const FOLD_LIMIT_MS = 60_000

export interface HeadTrees {
  readonly small: string
  /** 54,000 entries. */
  readonly large: string
  say(text: string): void
}

/** Volumes that can be written to: their whole lives, one call at a time; then snapshots of a large one, and restores of both sizes. */
export async function benchHeads(driver: Driver, results: Results, { small, large, say }: HeadTrees): Promise<void> {
  say('HEADs')
  await benchLives(driver, results)
  results.memory.push([`after ${7 * VOLUMES} calls for HEADs`, driver.memory()])
  await sleep(QUIET_MS)
  results.memory.push(['ten seconds later', driver.memory()])
  say('a large HEAD')
  await benchTree(driver, results, 'small', small)
  await benchTree(driver, results, 'large', large)
  results.memory.push(['after snapshots and restores of the large tree', driver.memory()])
}

/** Calls one after the other, under one name. */
async function one(results: Results, work: string, calls: readonly (() => Promise<unknown>)[]): Promise<void> {
  note(results, work, [await runCalls(calls, 1)])
}

function note(results: Results, work: string, times: readonly Times[]): void {
  results.rows.push({ work, published: 0, load: summarize(times, 1) })
}

async function createVolume(driver: Driver, name: string, snapshot?: string): Promise<string> {
  const { volume } = await driver.call('Controller/CreateVolume', {
    name,
    volume_capabilities: [{ access_mode: { mode: 'SINGLE_NODE_MULTI_WRITER' }, mount: {} }],
    parameters: {},
    ...(snapshot === undefined ? {} : { volume_content_source: { snapshot: { snapshot_id: snapshot } } }),
  })
  return volume.volume_id as string
}

async function createSnapshot(driver: Driver, name: string, volume: string): Promise<string> {
  const { snapshot } = await driver.call('Controller/CreateSnapshot', { name, source_volume_id: volume })
  return snapshot.snapshot_id as string
}

const deleteVolume = (driver: Driver, id: string): Promise<unknown> =>
  driver.call('Controller/DeleteVolume', { volume_id: id })

async function benchLives(driver: Driver, results: Results): Promise<void> {
  const ids: string[] = []
  const names = Array.from({ length: VOLUMES }, (_, i) => `pvc-${i}`)
  await one(
    results,
    'create an empty volume, durable',
    names.map(name => async () => void ids.push(await createVolume(driver, name))),
  )
  const mounts = ids.map(id => createMount(driver, id, {}))
  await one(
    results,
    'publish: a HEAD, first target',
    mounts.map(mount => mount.publish),
  )
  const seconds = ids.map(id => createMount(driver, id, {}))
  await one(
    results,
    'publish: a HEAD, second target',
    seconds.map(mount => mount.publish),
  )
  for (const { target } of mounts) fs.writeFileSync(`${target}/file`, 'x'.repeat(5000))
  await one(
    results,
    'snapshot of a small HEAD in use',
    ids.map((id, i) => async () => createSnapshot(driver, `snap-${i}`, id)),
  )
  await one(
    results,
    'unpublish: a HEAD, not the last target',
    seconds.map(mount => mount.unpublish),
  )
  await one(
    results,
    'unpublish: a HEAD, last target',
    mounts.map(mount => mount.unpublish),
  )
  await one(
    results,
    'delete a volume',
    ids.map(id => () => deleteVolume(driver, id)),
  )
}

/** A HEAD that holds a tree: each round changes a hundred files of it in use and takes a snapshot; the last one is restored. */
async function benchTree(driver: Driver, results: Results, size: string, tree: string): Promise<void> {
  const id = await createVolume(driver, `tree-${size}`)
  const mount = createMount(driver, id, {})
  await mount.publish()
  execFileSync('cp', ['-a', `${tree}/.`, mount.target])
  let snapshot = await createSnapshot(driver, `tree-${size}-first`, id)
  const files = fs.readdirSync(tree, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const times: Times[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await renew(driver, mount)
    for (let i = 0; i < CHANGES; i++) {
      const { parentPath, name } = files[(round * CHANGES + i) % files.length]
      fs.writeFileSync(
        path.join(mount.target, path.relative(tree, parentPath), name),
        `round ${round}, file ${i}\n`.repeat(50),
      )
    }
    times.push(
      await runCalls([async () => void (snapshot = await createSnapshot(driver, `tree-${size}-${round}`, id))], 1),
    )
  }
  note(results, `snapshot of a HEAD in use, ${CHANGES} changes, ${size} tree`, times)
  await mount.unpublish()
  const names = Array.from({ length: RESTORES }, (_, i) => `restored-${size}-${i}`)
  await one(
    results,
    `create a volume from a snapshot, ${size} tree`,
    names.map(name => () => createVolume(driver, name, snapshot)),
  )
}

/** Takes a HEAD from its last target and gives it back: then its last commit is its base, and the upperdir is empty. */
async function renew(driver: Driver, mount: Mount): Promise<void> {
  await mount.unpublish()
  const heads = path.join(driver.kubeletDir, 'plugins')
  const isMounted = (): boolean => fs.readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${heads}/`)
  for (const end = Date.now() + FOLD_LIMIT_MS; isMounted() && Date.now() < end; ) await sleep(20)
  fs.mkdirSync(path.dirname(mount.target), { recursive: true })
  await mount.publish() // waits for the fold, if it is under way
}
