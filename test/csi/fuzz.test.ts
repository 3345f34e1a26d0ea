import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { readMounts } from '../../src/host/mountinfo.ts'
import { type Answer, claimOf, createRequest, MOUNT, type Service } from '../support/node-process.ts'
import { createRandom, type Random } from '../support/random.ts'
import { fieldsOf, methodsOf, mutate, type Pool } from '../support/requests.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { createVolumesLab, good, type VolumesLab } from '../support/volumes-lab.ts'

/** What a caller's mistake may be answered with. */
const REFUSALS = [
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
]
/** 200,000 by hand: STRATUM_TEST_SCALE=100. */
const REQUESTS = scaled(2000)

interface Base {
  readonly service: Service
  readonly method: string
  readonly request: Record<string, unknown>
}

function basesFor(ids: { volume: string; snapshot: string; target: string }): Base[] {
  const pod = {
    'csi.storage.k8s.io/pod.name': 'pod',
    'csi.storage.k8s.io/pod.namespace': 'team-a',
    'csi.storage.k8s.io/pod.uid': '0000-1111',
    'csi.storage.k8s.io/ephemeral': 'false',
  }
  const { volume: volume_id, snapshot: snapshot_id, target: target_path } = ids
  const known: Record<string, Record<string, unknown>> = {
    'Controller/CreateVolume': createRequest('pvc-data-uid', { parameters: claimOf('team-a', 'data') }),
    'Controller/DeleteVolume': { volume_id: 'vol-none' },
    'Controller/ControllerGetVolume': { volume_id },
    'Controller/ValidateVolumeCapabilities': { volume_id, volume_capabilities: [MOUNT] },
    'Controller/CreateSnapshot': { name: 'snapshot', source_volume_id: volume_id, parameters: {} },
    'Controller/DeleteSnapshot': { snapshot_id: 'snap-none' },
    'Controller/GetSnapshot': { snapshot_id },
    'Controller/ListVolumes': { max_entries: 1 },
    'Controller/ListSnapshots': { max_entries: 1 },
    'Node/NodePublishVolume': { volume_id, target_path, volume_capability: MOUNT, volume_context: pod },
    'Node/NodeUnpublishVolume': { volume_id, target_path },
    'Node/NodeGetVolumeStats': { volume_id, volume_path: target_path },
  }
  return (['Identity', 'Controller', 'Node'] as const).flatMap(service =>
    methodsOf(service).map(method => ({ service, method, request: known[`${service}/${method}`] ?? {} })),
  )
}

/** Everything that a refused call must not change. */
function stateOf({ store }: VolumesLab): string {
  const root = store.store.path
  const names = (folder: string): string[] => (fs.existsSync(folder) ? fs.readdirSync(folder).sort() : [])
  const labels = names(`${root}/refs`).flatMap(label => [
    label,
    ...names(`${root}/refs/${label}/tags`),
    ...names(`${root}/refs/${label}`),
  ])
  const mounts = readMounts().filter(({ mountpoint }) => mountpoint.includes('/pods/')).length
  return JSON.stringify([
    labels,
    names(`${root}/state/volumes`),
    names(`${root}/state/snapshots`),
    names(`${root}/commits`),
    mounts,
  ])
}

function pathsOfPods(kubeletDir: string): string {
  const folder = `${kubeletDir}/pods/0000-1111/volumes/kubernetes.io~csi/pv`
  fs.mkdirSync(folder, { recursive: true })
  return `${folder}/mount`
}

async function sendOne(
  lab: VolumesLab,
  base: Base,
  random: Random,
  pool: Pool,
): Promise<{ answer: Answer; sent: unknown } | undefined> {
  const fields = fieldsOf(base.service, base.method)
  if (random.chance(0.1)) {
    const bytes = Buffer.from(random.bytes(random.below(200)), 'latin1')
    return { answer: await lab.plugin().send(base.service, base.method, bytes), sent: bytes.toString('base64') }
  }
  let request: unknown = base.request
  for (let changes = 1 + random.below(3); changes > 0; changes--) request = mutate(request, fields, random, pool)
  const answer = await lab.plugin().call(base.service, base.method, request)
  return answer.message.includes('Request message serialization failure') ? undefined : { answer, sent: request }
}

test('whatever is sent, the plugin lives, blames nobody but the caller, and a refused call changes nothing', async () => {
  const kubeletDir = fs.mkdtempSync(`${fs.realpathSync(process.env.TMPDIR ?? '/tmp')}/kubelet-`)
  await using lab = await createVolumesLab(['--kubelet-dir', kubeletDir])
  const target = pathsOfPods(kubeletDir)
  const volume = (await lab.createFor('team-a', 'data')).volume_id
  const snapshot = (await lab.snapshot('snapshot', volume)).snapshot_id
  const bases = basesFor({ volume, snapshot, target })
  const pool: Pool = {
    texts: [
      volume,
      snapshot,
      target,
      'team-a',
      'data',
      'team-a/data',
      'v1',
      '0',
      'Head',
      'Freeze',
      'true',
      '0755',
      'ro',
      `vol-00000000-${'0'.repeat(24)}`,
      `${target}/../mount`,
    ],
    keys: [
      'uid',
      'gid',
      'mode',
      'onDelete',
      'consistency',
      'unclean',
      'label',
      'tag',
      'csi.storage.k8s.io/pvc/name',
      'csi.storage.k8s.io/pvc/namespace',
      'csi.storage.k8s.io/pod.uid',
      'csi.storage.k8s.io/pod.namespace',
      'csi.storage.k8s.io/ephemeral',
      'topology.stratum.csi.dev/node',
    ],
  }
  const seed = firstSeed()
  const random = createRandom(seed)
  const codes = new Map<string, number>()
  let before = stateOf(lab)
  for (let i = 0; i < REQUESTS; i++) {
    const base = random.pick(bases)
    const sent = await sendOne(lab, base, random, pool)
    if (sent === undefined) continue
    const { code, message } = sent.answer
    codes.set(code, (codes.get(code) ?? 0) + 1)
    const what = `${code}: ${message}\nseed ${seed}, request ${i}: ${base.method} ${JSON.stringify(sent.sent).slice(0, 2000)}`
    const after = stateOf(lab)
    if (code === 'OK') {
      if (after === before) continue
      await tidy(lab, volume, target, base)
      before = stateOf(lab)
      continue
    }
    assert.ok(REFUSALS.includes(code), what)
    assert.equal(after, before, what)
  }
  assert.ok((codes.get('OK') ?? 0) > REQUESTS / 50, `too few calls succeeded: ${JSON.stringify([...codes])}`)
  assert.ok((codes.get('INVALID_ARGUMENT') ?? 0) > REQUESTS / 10, JSON.stringify([...codes]))
  assert.deepEqual(
    lab.plugin().lines.filter(({ level }) => level === 'fatal'),
    [],
  )
  assert.equal(good(await lab.call('ControllerGetVolume', { volume_id: volume })).volume.volume_id, volume)
})

/** Brings back the state that the requests start from. */
async function tidy(lab: VolumesLab, volume: string, target: string, { method }: Base): Promise<void> {
  if (method.startsWith('NodePublish'))
    good(await lab.plugin().call('Node', 'NodeUnpublishVolume', { volume_id: volume, target_path: target }))
  if (!/^(Create|Delete)/.test(method)) return
  for (const { snapshot } of good(await lab.call('ListSnapshots', {})).entries)
    good(await lab.call('DeleteSnapshot', { snapshot_id: snapshot.snapshot_id }))
  for (const { volume: other } of good(await lab.call('ListVolumes', {})).entries)
    if (other.volume_id !== volume) good(await lab.call('DeleteVolume', { volume_id: other.volume_id }))
  await lab.createFor('team-a', 'data')
  await lab.snapshot('snapshot', volume)
}
