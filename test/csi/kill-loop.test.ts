import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { readMounts } from '../../src/host/mountinfo.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { checkStore } from '../../src/repository/fsck.ts'
import { claimOf, connect, createRequest, MOUNT, type PluginClient, type Service } from '../support/node-process.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { listContents } from '../support/store.ts'
import { createVolumesLab, fromSnapshot, fromVolume, type VolumesLab } from '../support/volumes-lab.ts'

/**
 * Tenants that use volumes all the time, each its own, while the plugin is killed again and again and calls are given up at any moment. They
 * come again until they hear OK, as the sidecars and kubelet do; what they were told, and what they wrote, has to be so.
 */
const TENANTS = 6
const KILLS = scaled(8)
/** After these the same call is made again; any other code would be a wrong answer. */
const AGAIN = ['UNAVAILABLE', 'ABORTED', 'CANCELLED', 'DEADLINE_EXCEEDED']

interface Tenant {
  readonly lab: VolumesLab
  readonly client: PluginClient
  readonly random: Random
  readonly name: string
  isOver: boolean
  calls: number
  repeats: number
}

/** Makes a call until it is OK. */
async function settle(tenant: Tenant, service: Service, method: string, request: unknown): Promise<any> {
  const { client, random, name } = tenant
  for (;;) {
    const impatient = random.chance(0.2) ? AbortSignal.timeout(1 + random.below(60)) : undefined
    const options = impatient === undefined ? {} : { signal: impatient }
    const { code, message, response } = await client.call(service, method, request, options)
    tenant.calls++
    if (code === 'OK') return response
    assert.ok(AGAIN.includes(code), `${name}: ${method} ${JSON.stringify(request)}: ${code} ${message}`)
    tenant.repeats++
    await sleep(20 + random.below(100))
  }
}

async function make(tenant: Tenant, claim: string, source: Record<string, unknown> = {}): Promise<string> {
  const parameters = { ...claimOf('team-a', claim), onDelete: 'Label' }
  const request = createRequest(`pvc-${claim}`, { parameters, ...source })
  const { volume } = await settle(tenant, 'Controller', 'CreateVolume', request)
  return volume.volume_id
}

async function withVolume(tenant: Tenant, volume_id: string, work: (folder: string) => unknown): Promise<void> {
  const target_path = `${tenant.lab.store.scratch}/target-${tenant.name}-${volume_id}`
  const request = { volume_id, target_path, volume_capability: MOUNT, volume_context: {} }
  await settle(tenant, 'Node', 'NodePublishVolume', request)
  const mounts = readMounts().filter(({ mountpoint }) => mountpoint === target_path)
  assert.equal(mounts.length, 1, `${target_path} is mounted ${mounts.length} times`)
  await work(target_path)
  if (tenant.random.chance(0.3)) await settle(tenant, 'Node', 'NodePublishVolume', request)
  await settle(tenant, 'Node', 'NodeUnpublishVolume', { volume_id, target_path })
  assert.equal(fs.existsSync(target_path), false)
}

/** What a volume holds, which is text only. */
function read(folder: string): Record<string, string> {
  return Object.fromEntries(
    fs
      .readdirSync(folder)
      .sort()
      .map(name => [name, fs.readFileSync(`${folder}/${name}`, 'utf8')]),
  )
}

function write(folder: string, files: Record<string, string>, name: string, text: string): void {
  fs.writeFileSync(`${folder}/${name}`, text)
  files[name] = text
}

/** One life of a volume, with a snapshot, what is restored from it, and a clone. */
async function live(tenant: Tenant, round: number): Promise<void> {
  const { random, name } = tenant
  const claim = `${name}-${round % 2}` // names come again: nothing of their last life may show
  const volume = await make(tenant, claim)
  const files: Record<string, string> = {}
  const made: string[] = [volume]
  let snapshot = ''
  let snapped: Record<string, string> = {}
  await withVolume(tenant, volume, async folder => {
    assert.deepEqual(read(folder), {}, `${claim} is not empty`)
    for (let i = 0; i < 3; i++) write(folder, files, `file-${i}`, `${claim} ${round} ${'x'.repeat(random.below(9000))}`)
    snapped = { ...files }
    const asked = { name: `snapshot-${claim}-${round}`, source_volume_id: volume }
    snapshot = (await settle(tenant, 'Controller', 'CreateSnapshot', asked)).snapshot.snapshot_id
    write(folder, files, 'file-1', 'after the snapshot')
    made.push(await make(tenant, `${claim}-clone`, fromVolume(volume)))
    write(folder, files, 'file-2', 'after the clone')
  })
  await withVolume(tenant, volume, folder => assert.deepEqual(read(folder), files))
  made.push(await make(tenant, `${claim}-restored`, fromSnapshot(snapshot)))
  await withVolume(tenant, made[2], folder => assert.deepEqual(read(folder), snapped))
  const cloned = { ...snapped, 'file-1': 'after the snapshot' }
  await withVolume(tenant, made[1], folder => assert.deepEqual(read(folder), cloned))
  await settle(tenant, 'Controller', 'DeleteSnapshot', { snapshot_id: snapshot })
  for (const volume_id of made) await settle(tenant, 'Controller', 'DeleteVolume', { volume_id })
}

async function assertNothing({ store }: VolumesLab): Promise<void> {
  for (const folder of ['volumes', 'snapshots'])
    assert.deepEqual(fs.readdirSync(`${store.store.path}/state/${folder}`), [], folder)
  const { settled } = await checkStore(store, { repair: false, quick: false })
  assert.deepEqual(
    settled.filter(({ finding }) => finding.severity === 'damage').map(({ finding }) => finding.message),
    [],
  )
  assert.deepEqual(fs.readdirSync(`${store.store.path}/refs`), [])
  await collectGarbage(store, { now: true, allowEmpty: true })
  assert.deepEqual(listContents(store.store.path), { commits: [], objects: [] })
  assert.deepEqual(fs.readdirSync(`${store.store.path}/staging`), [])
}

test('killed again and again under load, the plugin keeps what it said and what was written, and leaves nothing', async t => {
  await using lab = await createVolumesLab()
  const seed = firstSeed()
  const random = createRandom(seed)
  using client = connect(lab.socket, {
    'grpc.initial_reconnect_backoff_ms': 20,
    'grpc.min_reconnect_backoff_ms': 20,
    'grpc.max_reconnect_backoff_ms': 100,
  })
  const tenants = Array.from({ length: TENANTS }, (_, i): Tenant => {
    const name = `tenant-${i}`
    return { lab, client, random: createRandom(seed * 1000 + i), name, isOver: false, calls: 0, repeats: 0 }
  })
  const lives = tenants.map(async tenant => {
    let rounds = 0
    while (!tenant.isOver) await live(tenant, rounds++)
    return rounds
  })
  const ended = Promise.all(lives)
  for (let kill = 0; kill < KILLS; kill++) {
    await Promise.race([sleep(random.below(4000)), ended])
    await lab.restart()
  }
  for (const tenant of tenants) tenant.isOver = true
  const rounds = (await ended).reduce((sum, count) => sum + count)
  const sum = (key: 'calls' | 'repeats'): number => tenants.reduce((total, tenant) => total + tenant[key], 0)
  t.diagnostic(`${KILLS} kills, ${rounds} lives, ${sum('calls')} calls, ${sum('repeats')} of them to be repeated`)
  assert.ok(sum('repeats') > KILLS, 'the kills hit nothing')
  const exit = await lab.plugin().stop()
  assert.equal(exit, 0)
  await lab.restart() // what a stop cut off is finished
  await lab.plugin().stop()
  const isOurs = ({ source }: { source: string }): boolean => source.includes(lab.store.store.id)
  assert.deepEqual(readMounts().filter(isOurs), [])
  await assertNothing(lab)
})
