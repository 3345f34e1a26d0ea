import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import { test } from 'node:test'
import { readMounts } from '../../src/host/mountinfo.ts'
import { goTool } from '../support/go-tools.ts'
import { startNode } from '../support/node-process.ts'
import { scaled } from '../support/scale.ts'
import { createTestStore, type TestStore } from '../support/store.ts'

/** csi-sanity v5.6 has 103 specs; these many are of the capabilities that the driver names (docs/csi.md has the others). */
const OURS = 59
/** What a spec that is skipped is about: capabilities that are left out on purpose, and one that upstream has switched off (`XIt`). */
const LEFT_OUT =
  /ControllerPublishVolume|\[Controller Server\] volume lifecycle|attribute class|ControllerUnpublishVolume|Stage|Expand|ModifyVolume|mutable|GroupController|[Hh]ealth|pagination should detect volumes|published|PublishReadonly|accessib|invalid starting_token|topology/i

interface Spec {
  readonly name: string
  readonly state: string
  readonly failure: string | undefined
}

interface Report {
  SpecReports: {
    LeafNodeType: string
    LeafNodeText: string
    ContainerHierarchyTexts: string[] | null
    State: string
    Failure?: { Message: string }
  }[]
}

function createRunner(store: TestStore): {
  socket: string
  run(focus: readonly string[], dry?: boolean): Promise<Spec[]>
} {
  const socket = `${store.scratch}/csi.sock`
  const report = `${store.scratch}/report.json`
  const run = async (focus: readonly string[], dry = false): Promise<Spec[]> => {
    const args = [
      `--csi.endpoint=unix://${socket}`,
      `--csi.mountdir=${store.scratch}/target`,
      `--csi.stagingdir=${store.scratch}/staging`,
      `--csi.testvolumesize=${1 << 20}`,
      `--csi.testvolumeexpandsize=${2 << 20}`,
      `--ginkgo.json-report=${report}`,
      ...(dry ? ['--ginkgo.dry-run'] : []),
      ...focus.map(name => `--ginkgo.focus=${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`),
    ]
    const child = spawn(goTool('csi-sanity'), args, { stdio: 'ignore' })
    await new Promise(resolve => child.once('close', resolve))
    const [suite] = JSON.parse(fs.readFileSync(report, 'utf8')) as Report[]
    return suite.SpecReports.filter(({ LeafNodeType }) => LeafNodeType === 'It').map(each => ({
      name: [...(each.ContainerHierarchyTexts ?? []), each.LeafNodeText].join(' '),
      state: each.State,
      failure: each.Failure?.Message,
    }))
  }
  return { socket, run }
}

function failures(specs: readonly Spec[]): Spec[] {
  return specs.filter(({ state }) => !['passed', 'skipped', 'pending'].includes(state))
}

function namesOf(specs: readonly Spec[], ...states: string[]): string[] {
  return specs
    .filter(({ state }) => states.includes(state))
    .map(({ name }) => name)
    .sort()
}

/** Nothing of what csi-sanity made is left. */
function assertClean({ scratch, store }: TestStore): void {
  for (const folder of ['volumes', 'snapshots'])
    assert.deepEqual(fs.readdirSync(`${store.path}/state/${folder}`), [], folder)
  assert.deepEqual(
    readMounts().filter(({ source, mountpoint }) => source.startsWith('stratum:') && mountpoint.startsWith(scratch)),
    [],
  )
}

test('csi-sanity passes with every spec of our capabilities, and again on the same store', async () => {
  const store = createTestStore()
  const { socket, run } = createRunner(store)
  await using plugin = await startNode({ store: store.store.path, socket })
  const first = await run([])
  assert.deepEqual(failures(first), [])
  assert.deepEqual(namesOf(first, 'passed').length, OURS)
  assert.deepEqual(
    namesOf(first, 'skipped', 'pending').filter(name => !LEFT_OUT.test(name)),
    [],
  )
  const second = await run([])
  assert.deepEqual(failures(second), [])
  assert.deepEqual(namesOf(second, 'passed'), namesOf(first, 'passed'))
  assert.equal(await plugin.stop(), 0)
  assertClean(store)
})

test('csi-sanity passes while the plugin is killed between the specs', async () => {
  const store = createTestStore()
  const { socket, run } = createRunner(store)
  const names = (await run([], true)).map(({ name }) => name)
  const groups = Math.min(scaled(6), names.length)
  const passed = new Set<string>()
  for (let group = 0; group < groups; group++) {
    await using plugin = await startNode({ store: store.store.path, socket })
    const specs = await run(names.filter((_, i) => i % groups === group))
    assert.deepEqual(failures(specs), [])
    for (const name of namesOf(specs, 'passed')) passed.add(name)
    await plugin.kill()
  }
  assert.equal(passed.size, OURS)
  assertClean(store)
})

test('csi-sanity is the version that docs/csi.md names', () => {
  const version = execFileSync('go', ['version', '-m', goTool('csi-sanity')], { encoding: 'utf8' })
  assert.match(version, /kubernetes-csi\/csi-test\/v5\s+v5\.6\.0/)
})
