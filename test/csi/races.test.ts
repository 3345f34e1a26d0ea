import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { readMounts } from '../../src/host/mountinfo.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { checkStore } from '../../src/repository/fsck.ts'
import { type Answer, claimOf, createRequest, MOUNT, type Service } from '../support/node-process.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { listContents } from '../support/store.ts'
import { createVolumesLab, fromSnapshot, fromVolume, good, type VolumesLab } from '../support/volumes-lab.ts'

/**
 * A client that lost its mind: any call for the same few volumes, snapshots and targets at any time, with other arguments each time, given up
 * or not. Whatever comes of it is one of the answers that CSI knows for it; nothing is mounted twice or holds what belongs elsewhere, and
 * when everything was taken away nothing is left.
 */
const CALLS = scaled(500)
const AT_ONCE = 12
const NAMES = ['a', 'b', 'c'] as const

/** What may be answered to each, besides OK: the rest would be a mistake of ours, or of another request. */
const CODES: Readonly<Record<string, readonly string[]>> = {
  CreateVolume: ['ALREADY_EXISTS', 'NOT_FOUND', 'FAILED_PRECONDITION'],
  DeleteVolume: ['FAILED_PRECONDITION'],
  CreateSnapshot: ['ALREADY_EXISTS', 'NOT_FOUND'],
  DeleteSnapshot: [],
  NodePublishVolume: ['ALREADY_EXISTS', 'NOT_FOUND', 'FAILED_PRECONDITION'],
  NodeUnpublishVolume: ['FAILED_PRECONDITION'],
  NodeGetVolumeStats: ['NOT_FOUND'],
  ControllerGetVolume: ['NOT_FOUND'],
  GetSnapshot: ['NOT_FOUND'],
  ListVolumes: [],
  ListSnapshots: [],
}
const ANY = ['OK', 'ABORTED', 'CANCELLED']

interface Known {
  /** Ids by the name of what they were made as. */
  readonly volumes: Map<string, string>
  readonly snapshots: Map<string, string>
}

interface Wish {
  readonly service: Service
  readonly method: string
  readonly request: Record<string, unknown>
}

const targetOf = (lab: VolumesLab, name: string): string => `${lab.store.scratch}/target-${name}`

function anyWish(lab: VolumesLab, { volumes, snapshots }: Known, random: Random): Wish {
  const name = random.pick(NAMES)
  const volume_id = volumes.get(random.pick(NAMES)) ?? 'vol-none'
  const snapshot_id = snapshots.get(random.pick(NAMES)) ?? 'snap-none'
  const target_path = targetOf(lab, random.pick(NAMES))
  const source = random.pick([{}, {}, fromSnapshot(snapshot_id), fromVolume(volume_id)])
  const parameters = { ...claimOf('team-a', name), onDelete: 'Label', uid: random.chance(0.1) ? '7' : '0' }
  const controller = (method: string, request: Record<string, unknown>): Wish => ({
    service: 'Controller',
    method,
    request,
  })
  const node = (method: string, request: Record<string, unknown>): Wish => ({ service: 'Node', method, request })
  const publish = {
    volume_id,
    target_path,
    readonly: random.chance(0.2),
    volume_capability: random.chance(0.3) ? { mount: {}, access_mode: { mode: 'SINGLE_NODE_MULTI_WRITER' } } : MOUNT,
  }
  return random.pick([
    controller('CreateVolume', createRequest(`pvc-${name}`, { parameters, ...source })),
    controller('CreateVolume', createRequest(`pvc-${name}`, { parameters })),
    controller('DeleteVolume', { volume_id }),
    controller('CreateSnapshot', { name, source_volume_id: volume_id }),
    controller('CreateSnapshot', { name, source_volume_id: volumes.get(name) ?? 'vol-none' }),
    controller('DeleteSnapshot', { snapshot_id }),
    controller('ControllerGetVolume', { volume_id }),
    controller('GetSnapshot', { snapshot_id }),
    controller('ListVolumes', { max_entries: random.below(3) }),
    controller('ListSnapshots', { source_volume_id: random.chance(0.5) ? volume_id : '' }),
    node('NodePublishVolume', publish),
    node('NodePublishVolume', publish),
    node('NodeUnpublishVolume', { volume_id, target_path }),
    node('NodeUnpublishVolume', { volume_id, target_path }),
    node('NodeGetVolumeStats', { volume_id, volume_path: target_path }),
  ])
}

function learn({ method, request }: Wish, { response }: Answer, { volumes, snapshots }: Known): void {
  if (method === 'CreateVolume') volumes.set(String(request.name).slice(4), response.volume.volume_id)
  if (method === 'CreateSnapshot') snapshots.set(String(request.name), response.snapshot.snapshot_id)
}

/** Mounts that are seen twice, or that show what another label holds. */
function assertMounts(lab: VolumesLab, what: string): void {
  const { scratch, store } = lab.store
  const ours = readMounts().filter(({ source }) => source.includes(store.id))
  const points = ours.map(({ mountpoint }) => mountpoint)
  assert.equal(new Set(points).size, points.length, `mounted twice, after ${what}: ${points.join(' ')}`)
  const heads = new Map<string, Set<string>>()
  for (const { source, device, mountpoint } of ours)
    if (mountpoint.startsWith(scratch)) heads.set(source, (heads.get(source) ?? new Set()).add(device))
  for (const [source, devices] of heads) assert.equal(devices.size, 1, `${source} has two superblocks, after ${what}`)
}

async function takeAllAway(lab: VolumesLab): Promise<void> {
  const ids = good(await lab.call('ListVolumes', {})).entries.map(({ volume }: any) => volume.volume_id)
  for (const name of NAMES) {
    const path = targetOf(lab, name)
    const answers = []
    for (const id of [...ids, 'vol-none']) answers.push(await lab.unpublish(id, path))
    assert.ok(!fs.existsSync(path), `${path} stays: ${answers.map(({ message }) => message).join('; ')}`)
  }
  for (const volume_id of ids) good(await lab.call('DeleteVolume', { volume_id }))
  for (const { snapshot } of good(await lab.call('ListSnapshots', {})).entries)
    good(await lab.call('DeleteSnapshot', { snapshot_id: snapshot.snapshot_id }))
}

test('calls of any kind for the same few things at once: right codes, one mount a target, and nothing is left', async t => {
  await using lab = await createVolumesLab(['--gc-interval', '0.01'])
  const seed = firstSeed()
  const random = createRandom(seed)
  const known: Known = { volumes: new Map(), snapshots: new Map() }
  const codes = new Map<string, number>()
  let left = CALLS
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const wish = anyWish(lab, known, random)
      const options = random.chance(0.15) ? { signal: AbortSignal.timeout(1 + random.below(40)) } : {}
      const answer = await lab.plugin().call(wish.service, wish.method, wish.request, options)
      const what = `${wish.method} ${JSON.stringify(wish.request)}: ${answer.code} ${answer.message} (seed ${seed})`
      assert.ok([...ANY, ...CODES[wish.method]].includes(answer.code), what)
      codes.set(answer.code, (codes.get(answer.code) ?? 0) + 1)
      if (answer.code === 'OK') learn(wish, answer, known)
      assertMounts(lab, what)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  t.diagnostic(JSON.stringify([...codes]))
  assert.ok((codes.get('OK') ?? 0) > CALLS / 5, JSON.stringify([...codes]))
  await takeAllAway(lab)
  assert.equal(await lab.plugin().stop(), 0)
  await lab.restart()
  await lab.plugin().stop()
  const { store } = lab
  assert.deepEqual(
    readMounts().filter(({ source }) => source.includes(store.store.id)),
    [],
  )
  const { settled } = await checkStore(store, { repair: false, quick: false })
  assert.deepEqual(
    settled.filter(({ finding }) => finding.severity === 'damage'),
    [],
  )
  await collectGarbage(store, { now: true, allowEmpty: true })
  // A label whose volume went before its last snapshot keeps its log.
  assert.deepEqual(fs.globSync('refs/*/{head*,tags/*}', { cwd: store.store.path }), [])
  assert.deepEqual(listContents(store.store.path), { commits: [], objects: [] })
})
