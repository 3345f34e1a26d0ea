import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { unmount } from '../../src/host/mount-api.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { listLabels, readTags } from '../../src/refs/tags.ts'
import { checkNamed, namedContent } from '../support/named-files.ts'
import { createRandom } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { createTestStore, listContents, type TestStore } from '../support/store.ts'

const ACTOR = path.resolve(import.meta.dirname, '../support/gc-actor.ts')
const ROLES = ['importer', 'importer', 'collector', 'collector', 'mounter', 'mounter', 'writer']
const KILLS = scaled(30)

test('importers, writers, mounts and collectors all at once, killed at random, lose nothing', async () => {
  const random = createRandom(firstSeed())
  const store = createTestStore()
  await prepare(store)
  const actors = ROLES.map((role, i) => start(store, role, i))
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(100 + random.below(700))
    const victim = random.below(actors.length)
    await end(actors[victim])
    actors[victim] = start(store, ROLES[victim], 1000 * (kill + 1) + victim)
  }
  for (const actor of actors) await end(actor)
  const wrong = `${store.scratch}/wrong`
  assert.equal(fs.existsSync(wrong) ? fs.readFileSync(wrong, 'utf8') : '', '')
  await everythingIsThere(store)
})

/** A first commit of each label, and a HEAD that is written to. */
async function prepare(store: TestStore): Promise<void> {
  for (const label of ['label-0', 'label-1', 'label-2', 'work'])
    await store.importFiles(`${label}:v0`, { f9: namedContent('f9') })
  await store.mount('work', { at: `${store.scratch}/work` })
}

function start(store: TestStore, role: string, seed: number): ChildProcess {
  const form = role === 'mounter' && seed % 2 === 0 ? { STRATUM_MOUNT_FORM: 'loop' } : {}
  const args = [ACTOR, role, store.store.path, store.scratch, String(seed)]
  return spawn(process.execPath, args, { stdio: 'inherit', env: { ...process.env, ...form } })
}

async function end(actor: ChildProcess): Promise<void> {
  if (actor.exitCode !== null || actor.signalCode !== null) return
  const ended = once(actor, 'exit')
  actor.kill('SIGKILL')
  await ended
}

async function everythingIsThere(store: TestStore): Promise<void> {
  const left = readMounts().filter(({ mountpoint }) => mountpoint.startsWith(`${store.scratch}/mount-`))
  for (const { mountpoint } of left) checkNamed(mountpoint)
  const ran = store.run(['fsck'])
  assert.equal(ran.status, 0, ran.stdout + ran.stderr)
  for (const { mountpoint } of left) unmount(mountpoint)
  assert.equal(store.run(['fsck', '--repair']).status, 0)
  checkNamed(`${store.scratch}/work`)
  for (const label of listLabels(store.store)) {
    for (const tag of readTags(store.store, label).keys()) {
      const mountpoint = await store.mount(`${label}:${tag}`, { readOnly: true })
      checkNamed(mountpoint)
      await store.unmount(mountpoint)
    }
  }
  await nothingElseIsLeft(store)
}

/** When all is quiet, one collection leaves exactly what is named. */
async function nothingElseIsLeft(store: TestStore): Promise<void> {
  for (const end = Date.now() + 60_000; ; await sleep(100)) {
    const { held, inUse } = await collectGarbage(store, { now: true })
    if (held.length + inUse.length === 0) break
    assert.ok(Date.now() < end, 'something stays in use although nobody uses it')
  }
  const { findings, unused, commits } = store.run(['fsck', '--json']).json
  assert.deepEqual([findings, unused], [[], 0])
  const named = new Set<string>()
  for (const label of listLabels(store.store)) for (const id of readTags(store.store, label).values()) named.add(id)
  assert.ok(commits <= named.size + 2) // and the base and last commit of HEAD
  assert.deepEqual(fs.readdirSync(`${store.store.path}/staging`), [])
  assert.equal(listContents(store.store.path).commits.length, commits)
}
