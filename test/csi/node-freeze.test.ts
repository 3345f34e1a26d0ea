import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { createGroup, dissolveGroup, type Freezer, isFrozen, moveProcess } from '../../src/host/cgroup.ts'
import { processes } from '../../src/host/mountinfo.ts'
import { findPodGroups } from '../../src/host/pod-groups.ts'
import { parseLabel } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import { parseTag } from '../../src/names/tag.ts'
import { commitVolume } from '../../src/volumes/commit-volume.ts'
import { orphanedTargets, podFreezers } from '../../src/volumes/pod-freezers.ts'
import { publishVolume } from '../../src/volumes/publish.ts'
import { openVolumes } from '../../src/volumes/recover.ts'
import { unpublishVolume } from '../../src/volumes/unpublish.ts'
import { SOLE_HOLDER, type Volumes } from '../../src/volumes/volumes.ts'
import { startActor } from '../support/actor.ts'
import { createPod, targetOf, type TestPod } from '../support/csi.ts'
import { scaled } from '../support/scale.ts'
import { createTestStore, readFiles } from '../support/store.ts'

/** Commits of a HEAD in use stop its pods, in groups as kubelet makes them, and nobody stays frozen. */
const LABEL = parseLabel('team-a/web')
const NEVER = new AbortController().signal
const MAX_PAUSE_MS = 5_000
const made: Freezer[] = []
after(() => {
  for (const group of made.reverse()) if (fs.existsSync(group.path)) dissolveGroup(group)
})

const V1: Freezer = { version: 1, path: '/sys/fs/cgroup/freezer' }
const V2: Freezer = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
  .map((folder): Freezer => ({ version: 2, path: folder }))
  .find(({ path: folder }) => fs.existsSync(`${folder}/cgroup.controllers`)) as Freezer
const TOPS = [V1, V2].filter(top => fs.existsSync(`${top?.path}/cgroup.procs`))
const FORMS: Readonly<Record<string, (uid: string) => string[]>> = {
  cgroupfs: uid => ['kubepods', 'burstable', `pod${uid}`],
  systemd: uid => ['kubepods.slice', `kubepods-pod${uid.replaceAll('-', '_')}.slice`],
  kind: uid => ['kubelet.slice', 'kubelet-kubepods.slice', `kubelet-kubepods-pod${uid.replaceAll('-', '_')}.slice`],
}

/** The group of a pod below a folder of our own, with one for a container inside. */
function podGroup(top: Freezer, form: string, uid: string): { pod: Freezer; container: Freezer } {
  let group = createGroup(top, `stratum-test-${randomBytes(4).toString('hex')}`)
  made.push(group)
  for (const name of FORMS[form](uid)) made.push((group = createGroup(group, name)))
  const container = createGroup(group, 'cri-containerd-abc.scope')
  made.push(container)
  return { pod: group, container }
}

interface Scene {
  readonly volumes: Volumes
  readonly pod: TestPod
  readonly target: string
}

async function createScene(): Promise<Scene> {
  const store = createTestStore()
  await store.importFiles('team-a/web:v1', { 'd/file': 'one' })
  const kubeletDir = `${store.scratch}/kubelet`
  const driver = { name: 'stratum.csi.dev', nodeId: 'n', kubeletDir, headsDir: `${kubeletDir}/plugins/heads` }
  fs.mkdirSync(kubeletDir)
  const volumes = await openVolumes(store.store, driver, SOLE_HOLDER)
  const pod = createPod()
  const target = targetOf(kubeletDir, pod)
  await publishVolume(volumes, requestOf(pod, target), NEVER)
  return { volumes, pod, target }
}

function requestOf(pod: TestPod, target: string): Parameters<typeof publishVolume>[1] {
  const info = Object.entries(pod).map(([key, value]) => [`csi.storage.k8s.io/pod.${key}`, value])
  return {
    volumeId: 'pv',
    target,
    readOnly: false,
    accessMode: 'SINGLE_NODE_MULTI_WRITER',
    mountFlags: [],
    mountGroup: undefined,
    attributes: { label: LABEL, ...Object.fromEntries(info) },
  }
}

for (const top of TOPS)
  for (const form of Object.keys(FORMS))
    test(`the group of a pod is found, version ${top.version}, ${form}`, async () => {
      const { pod } = await createScene()
      const other = createPod()
      const groups = podGroup(top, form, pod.uid)
      podGroup(top, form, other.uid)
      assert.deepEqual([...findPodGroups(new Set([pod.uid]))], [[pod.uid, groups.pod]])
    })

test('pods are found by their targets, and those that ended are in nobody’s way', async () => {
  const { volumes, pod, target } = await createScene()
  assert.deepEqual(podFreezers(volumes, LABEL), [], 'no group and no process: it ended')
  assert.deepEqual(
    orphanedTargets(volumes).map(published => published.target),
    [target],
  )
  const { pod: group } = podGroup(TOPS[0], 'cgroupfs', pod.uid)
  assert.deepEqual(podFreezers(volumes, LABEL), [group])
  assert.deepEqual(orphanedTargets(volumes), [])
  const elsewhere = fs.mkdtempSync(path.join(path.dirname(volumes.store.path), 'bind-'))
  spawnSync('mount', ['--bind', target, elsewhere])
  assert.equal(podFreezers(volumes, LABEL), undefined, 'somebody else can write, too')
  spawnSync('umount', [elsewhere])
  await unpublishVolume(volumes, { volumeId: 'pv', target }, NEVER)
  await volumes.ledger.background
})

test('a commit of a HEAD that a pod writes to holds exactly the first n steps', async () => {
  const { volumes, pod, target } = await createScene()
  const { container } = podGroup(TOPS[0], 'systemd', pod.uid)
  const writer = spawn('python3', [path.join(import.meta.dirname, '../support/stepper.py'), `${target}/d`, '0.0003'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(writer.stdout, 'data')
  moveProcess(writer.pid as number, container)
  for (let round = 0; round < scaled(8); round++) {
    const tag = parseTag(`round-${round}`)
    const { pauseMs } = await commitVolume(
      volumes,
      {
        label: LABEL,
        tags: [{ name: tag, move: false }],
        message: undefined,
        consistency: 'freeze',
        maxPauseMs: MAX_PAUSE_MS,
        deadlineMs: 60_000,
        allowUnclean: false,
        actor: 'test',
      },
      NEVER,
    )
    assert.ok(pauseMs > 0)
    assert.equal(isFrozen(container), false)
    const steps = stepsIn(await mountTag(volumes, `${LABEL}:${tag}`))
    const ordered = steps.every((step, i) => i === 0 || step <= steps[i - 1])
    assert.ok(ordered && steps[0] - steps[4] <= 1 && steps[4] > 0, `no point in time: ${steps.join(' ')}`)
  }
  writer.stdin.end()
  await once(writer, 'close')
})

async function mountTag(volumes: Volumes, reference: string): Promise<string> {
  const { mountReference } = await import('../../src/repository/mount.ts')
  const mountpoint = fs.mkdtempSync(path.join(path.dirname(volumes.store.path), 'tag-'))
  const request = {
    reference: parseReference(reference),
    mountpoint,
    readOnly: true,
    allowSuidAndDevices: false,
    uid: 0,
  }
  await mountReference({ store: volumes.store, actor: 'test' }, request)
  return mountpoint
}

function stepsIn(mountpoint: string): number[] {
  const files = readFiles(`${mountpoint}/d`)
  return ['s1', 's2', 's3', 's4', 's5'].map(name => {
    const bytes = Buffer.from(files[name], 'latin1')
    return name === 's4' ? Math.floor(bytes.length / 8) : Number(bytes.readBigInt64LE(0))
  })
}

function freezeAndDie(volumes: Volumes, { version, path: group }: Freezer, limitMs: number): void {
  const script = path.join(import.meta.dirname, '../support/freeze-and-die.ts')
  const args = [script, volumes.store.path, LABEL, String(version), group, String(limitMs)]
  const { signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.equal(signal, 'SIGKILL', stderr)
}

/** The watchdog of a group that is this test's own. */
function endWatchdog({ path: group }: Freezer): void {
  const isOurs = (pid: number): boolean =>
    commandLine(pid).includes('stratum-watchdog') && commandLine(pid).includes(group)
  for (const pid of processes().filter(isOurs)) process.kill(-pid, 'SIGKILL')
}

function commandLine(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

for (const top of TOPS) {
  test(`who is stopped when the plugin is killed goes on after the longest pause, version ${top.version}`, async () => {
    const { volumes, pod } = await createScene()
    const { pod: group, container } = podGroup(top, 'cgroupfs', pod.uid)
    await using actor = await startActor()
    moveProcess(actor.pid, container)
    freezeAndDie(volumes, group, 300)
    assert.equal(await actor.run('1 + 1'), 2, 'the watchdog let it go on')
    assert.equal(isFrozen(group), false)
  })

  test(`a start lets everybody go on first of all, version ${top.version}`, async () => {
    const { volumes, pod } = await createScene()
    const { pod: group, container } = podGroup(top, 'cgroupfs', pod.uid)
    await using actor = await startActor()
    moveProcess(actor.pid, container)
    freezeAndDie(volumes, group, 600_000)
    assert.equal(isFrozen(group), true)
    await openVolumes(volumes.store, volumes.driver, SOLE_HOLDER)
    assert.equal(isFrozen(group), false)
    assert.equal(await actor.run('1 + 1'), 2)
    endWatchdog(group)
  })
}
