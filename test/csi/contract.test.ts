import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, type ServiceError } from '@grpc/grpc-js'
import { loadProtocols } from '../../src/csi/protocol.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { lockLabel } from '../../src/store/locks.ts'
import { createPod, publishRequest, targetOf, type Wish } from '../support/csi.ts'
import { type Answer, claimOf, connect, createRequest, MOUNT } from '../support/node-process.ts'
import { createTestStore } from '../support/store.ts'
import { createVolumesLab, fromSnapshot, fromVolume, good } from '../support/volumes-lab.ts'

/**
 * What the CSI specification and orchestrators demand, row by row of the tables in research/csi.md: section, then row. Here each is shown
 * as external-provisioner, external-snapshotter and kubelet would see it; how it holds under kills, races and bad input, the other files of
 * this folder show. The last test holds that no row is forgotten.
 */
const ROWS: Readonly<Record<string, number>> = { '1.2': 8, '1.3': 27, '1.4': 4, '1.5': 5, '3.10': 16, '4.1': 13 }
const UNIMPLEMENTED = 'left out on purpose (docs/csi.md): row 1.3.10 and 1.3.25 show that it is not announced'
const NOT_OURS: Readonly<Record<string, string>> = {
  '1.3.18': `group snapshots are ${UNIMPLEMENTED}`,
  '1.3.19': `metadata of block snapshots is ${UNIMPLEMENTED}`,
  '3.10.9': 'nothing is staged, so nothing depends on Unstage',
}
/** Rows that another file shows as a whole. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  '3.10.5': 'test/cluster/chart/templates.test.ts',
  '3.10.8': 'test/csi/node-freeze.test.ts',
  '3.10.13': 'test/cluster/install.test.ts',
  '3.10.16': 'test/csi/node-restart.test.ts',
  ...Object.fromEntries(Array.from({ length: 13 }, (_, i) => [`4.1.${i + 1}`, 'test/csi/sanity.test.ts'])),
}

const shown: string[] = []
function row(number: string, demand: string, work: () => Promise<void>): void {
  shown.push(number)
  test(`${number} ${demand}`, work)
}

const kubeletDir = fs.mkdtempSync(`${fs.realpathSync(os.tmpdir())}/kubelet-`)
const lab = await createVolumesLab(['--kubelet-dir', kubeletDir])
after(() => lab[Symbol.asyncDispose]())
await lab.store.importFiles('team-a/web:v1', { file: 'one' })

const TAG = { attributes: { label: 'team-a/web', tag: 'v1' }, readonly: true } as const
const wishFor = (volumeId: string, more: Partial<Wish> = {}): Wish => {
  const pod = more.pod ?? createPod('team-a')
  return { volumeId, pod, target: targetOf(kubeletDir, pod, volumeId), ...more }
}
const put = (wish: Wish): Promise<Answer> => lab.plugin().call('Node', 'NodePublishVolume', publishRequest(wish))
const take = ({ volumeId, target }: Wish): Promise<Answer> => lab.unpublish(volumeId, target)
const node = (method: string, request: unknown): Promise<Answer> => lab.plugin().call('Node', method, request)
const mountsAt = ({ target }: Wish): number => readMounts().filter(({ mountpoint }) => mountpoint === target).length

async function codes(expected: string, ...answers: Promise<Answer>[]): Promise<void> {
  for (const { code, message } of await Promise.all(answers)) assert.equal(code, expected, message)
}

let claims = 0
const freshVolume = async (): Promise<string> => (await lab.createFor('team-a', `claim-${++claims}`)).volume_id
const remove = (volume_id: string): Promise<Answer> => lab.call('DeleteVolume', { volume_id })

row('1.2.1', 'a missing field, a pending call, a call that is not there have a code each', async () => {
  await codes('INVALID_ARGUMENT', lab.call('CreateVolume', {}), node('NodePublishVolume', {}))
  await codes('UNIMPLEMENTED', node('NodeStageVolume', {}))
  const volume = await freshVolume()
  const wish = wishFor(volume)
  const { label } = lab.record(volume)
  const lock = await lockLabel(lab.store.store, label)
  const first = put(wish)
  await codes('ABORTED', put(wish), remove(volume))
  lock[Symbol.dispose]()
  await codes('OK', first)
  await codes('OK', put(wish))
  assert.equal(mountsAt(wish), 1)
  await codes('OK', take(wish))
  await codes('OK', remove(volume))
})

row('1.2.2', 'what is refused says why to people, and nothing in details', async () => {
  const protocols = loadProtocols()
  const client = new protocols.csi.Controller(`unix://${lab.socket}`, credentials.createInsecure())
  const error = await new Promise<ServiceError | null>(resolve => client.GetSnapshot({ snapshot_id: 'x' }, resolve))
  client.close()
  assert.equal(error?.details, 'there is no snapshot "x"')
  assert.deepEqual(
    Object.keys(error?.metadata.getMap() ?? {}).filter(key => key.includes('details')),
    [],
  )
})

row('1.2.3', 'texts have 128 bytes, maps 4 KiB, and not one more', async () => {
  const name = 'é'.repeat(64)
  const { volume } = good(await lab.call('CreateVolume', createRequest(name)))
  await codes('OK', remove(volume.volume_id))
  await codes('INVALID_ARGUMENT', lab.call('CreateVolume', createRequest(`${name}x`)))
  const secrets = { a: 'x'.repeat(4095) }
  await codes('OK', lab.call('DeleteVolume', { volume_id: 'none', secrets }))
  await codes('INVALID_ARGUMENT', lab.call('DeleteVolume', { volume_id: 'none', secrets: { ...secrets, b: '' } }))
})

row('1.2.4', 'secrets and mount flags are in no log line', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume, { flags: ['hunter2-flag'] })
  await codes('INVALID_ARGUMENT', put(wish))
  await codes('OK', lab.call('DeleteVolume', { volume_id: volume, secrets: { token: 'hunter2-secret' } }))
  const [flag, secret] = ['hunter2-flag', 'hunter2-secret']
  const said = lab
    .plugin()
    .lines.filter(({ error, ...line }) => JSON.stringify(line).includes(flag) || String(error).includes(secret))
  assert.deepEqual(said, [])
  assert.ok(!JSON.stringify(lab.plugin().lines).includes(secret))
})

row('1.2.5', 'CSI_ENDPOINT names the socket, which is alone in its folder', async () => {
  const { store, scratch } = createTestStore()
  const folder = fs.mkdtempSync(`${scratch}/socket-`)
  const main = path.resolve(import.meta.dirname, '../support/node-main.ts')
  const env = { ...process.env, CSI_ENDPOINT: `unix://${folder}/csi.sock` }
  const child = spawn(process.execPath, [main, '--store', store.path], {
    env,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const gone = new Promise(resolve => child.once('close', resolve))
  using client = connect(`${folder}/csi.sock`, { 'grpc.max_reconnect_backoff_ms': 100 })
  let code = ''
  for (const end = Date.now() + 60_000; code !== 'OK' && Date.now() < end; await sleep(50))
    code = (await client.call('Identity', 'Probe', {})).code
  assert.equal(code, 'OK')
  assert.deepEqual(fs.readdirSync(folder), ['csi.sock'])
  child.kill('SIGKILL')
  await gone
})

row('1.2.6', 'several calls for one volume at once are served one after the other', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume)
  const answers = await Promise.all(Array.from({ length: 8 }, () => put(wish)))
  assert.ok(answers.every(({ code }) => code === 'OK' || code === 'ABORTED'))
  await codes('OK', put(wish))
  assert.equal(mountsAt(wish), 1)
  await Promise.all([take(wish), take(wish), put(wishFor('pv', TAG))])
  await codes('OK', take(wish))
  assert.equal(mountsAt(wish), 0)
  await codes('OK', remove(volume))
})

row('1.2.7', 'what is asked for twice is done once, and answered the same', async () => {
  const make = createRequest('pvc-twice', { parameters: claimOf('team-a', 'twice') })
  const made = good(await lab.call('CreateVolume', make))
  assert.deepEqual(good(await lab.call('CreateVolume', make)), made)
  const snapshot = { name: 'twice', source_volume_id: made.volume.volume_id }
  const snapped = good(await lab.call('CreateSnapshot', snapshot))
  assert.deepEqual(good(await lab.call('CreateSnapshot', snapshot)), snapped)
  for (let times = 0; times < 2; times++) {
    await codes('OK', lab.call('DeleteSnapshot', { snapshot_id: snapped.snapshot.snapshot_id }))
    await codes('OK', remove(made.volume.volume_id))
  }
})

row('1.2.8', 'the target is made and removed by the plugin, its parent by nobody', async () => {
  const wish = wishFor('pv', TAG)
  await codes('OK', put(wish))
  assert.equal(mountsAt(wish), 1)
  await codes('OK', take(wish))
  assert.deepEqual(fs.readdirSync(path.dirname(wish.target)), [])
  const orphan = { ...wish, target: `${path.dirname(wish.target)}/none/mount` }
  await codes('INVALID_ARGUMENT', put(orphan))
  assert.equal(fs.existsSync(path.dirname(orphan.target)), false)
  await codes('OK', take(orphan))
})

row('1.3.1', 'GetPluginInfo names a domain of at most 63 characters and a version', async () => {
  const { name, vendor_version } = good(await lab.plugin().call('Identity', 'GetPluginInfo', {}))
  assert.match(name, /^[a-zA-Z][A-Za-z0-9-._]{0,61}[a-zA-Z]$/)
  assert.match(vendor_version, /^\d+\.\d+\.\d+/)
})

row('1.3.2', 'GetPluginCapabilities are a controller and volumes that are on one node', async () => {
  const { capabilities } = good(await lab.plugin().call('Identity', 'GetPluginCapabilities', {}))
  const types = capabilities.map((each: any) => each.service?.type)
  assert.deepEqual(types, ['CONTROLLER_SERVICE', 'VOLUME_ACCESSIBILITY_CONSTRAINTS'])
})

row('1.3.3', 'Probe says ready', async () => {
  assert.deepEqual(good(await lab.plugin().call('Identity', 'Probe', {})).ready, { value: true })
})

row('1.3.4', 'CreateVolume: the name is the volume, and each refusal has its code', async () => {
  const make = (more: Record<string, unknown>): Promise<Answer> =>
    lab.call('CreateVolume', createRequest('pvc-134', more))
  const elsewhere = { requisite: [{ segments: { 'topology.stratum.csi.dev/node': 'other' } }] }
  await codes('RESOURCE_EXHAUSTED', make({ accessibility_requirements: elsewhere }))
  await codes('OUT_OF_RANGE', make({ capacity_range: { required_bytes: 2, limit_bytes: 1 } }))
  await codes('INVALID_ARGUMENT', make({ volume_content_source: {} }), make({ volume_capabilities: [] }))
  const unknown = `vol-${lab.store.store.id.slice(0, 8)}-${'0'.repeat(24)}`
  await codes('NOT_FOUND', make(fromVolume(unknown)), make(fromSnapshot(unknown.replace('vol', 'snap'))))
  const { volume } = good(await make({ capacity_range: { required_bytes: 1 } }))
  await codes('ALREADY_EXISTS', make({ capacity_range: { required_bytes: 2 } }))
  await codes('OK', remove(volume.volume_id))
})

row('1.3.5', 'DeleteVolume: what is in use stays, what there is not is deleted', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume)
  await codes('OK', put(wish))
  await codes('FAILED_PRECONDITION', remove(volume))
  await codes('OK', take(wish))
  await codes('OK', remove(volume), remove('never-was'))
})

for (const [number, service, method] of [
  ['1.3.6', 'Controller', 'ControllerPublishVolume'],
  ['1.3.15', 'Controller', 'ControllerExpandVolume'],
  ['1.3.17', 'Controller', 'ControllerModifyVolume'],
  ['1.3.20', 'Node', 'NodeStageVolume'],
  ['1.3.24', 'Node', 'NodeExpandVolume'],
  ['1.3.26', 'Node', 'NodeGetVolumeHealth'],
  ['1.3.27', 'Controller', 'ControllerGetVolumeHealth'],
] as const)
  row(number, `${method} is left out, and says so`, () =>
    codes('UNIMPLEMENTED', lab.plugin().call(service, method, { volume_id: 'x' })),
  )

row('1.3.7', 'ValidateVolumeCapabilities confirms what can be, and says nothing of the rest', async () => {
  const volume_id = await freshVolume()
  const ask = (volume_capabilities: unknown[], id = volume_id): Promise<Answer> =>
    lab.call('ValidateVolumeCapabilities', { volume_id: id, volume_capabilities })
  await codes('NOT_FOUND', ask([MOUNT], 'never-was'))
  await codes('INVALID_ARGUMENT', ask([]))
  assert.ok(good(await ask([MOUNT])).confirmed)
  assert.equal(good(await ask([{ block: {}, access_mode: MOUNT.access_mode }])).confirmed, null)
  await codes('OK', remove(volume_id))
})

row('1.3.8', 'ListVolumes: a token that nobody gave is ABORTED', async () => {
  await codes('ABORTED', lab.call('ListVolumes', { starting_token: 'x' }))
  await codes('OK', lab.call('ListVolumes', {}))
})

row('1.3.9', 'GetCapacity is what the store’s disk has left', async () => {
  const { available_capacity } = good(await lab.call('GetCapacity', {}))
  assert.ok(Number(available_capacity) > 0)
})

row('1.3.10', 'ControllerGetCapabilities are those of docs/csi.md', async () => {
  const { capabilities } = good(await lab.call('ControllerGetCapabilities', {}))
  const docs = fs.readFileSync(path.resolve(import.meta.dirname, '../../docs/csi.md'), 'utf8')
  const [, named] = /^\| Controller +\| (.*?) +\|$/m.exec(docs) ?? []
  assert.equal(capabilities.map(({ rpc }: any) => rpc.type).join(', '), named)
})

row('1.3.11', 'CreateSnapshot: one name, one source; a volume that there is not is NOT_FOUND', async () => {
  const [one, two] = [await freshVolume(), await freshVolume()]
  const snap = (source_volume_id: string): Promise<Answer> =>
    lab.call('CreateSnapshot', { name: 's', source_volume_id })
  await codes('NOT_FOUND', snap('never-was'))
  const { snapshot } = good(await snap(one))
  assert.equal(snapshot.ready_to_use, true)
  await codes('ALREADY_EXISTS', snap(two))
  await codes('OK', lab.call('DeleteSnapshot', { snapshot_id: snapshot.snapshot_id }), remove(one), remove(two))
})

row('1.3.12', 'DeleteSnapshot: what there is not is deleted, a name is needed', async () => {
  await codes('OK', lab.call('DeleteSnapshot', { snapshot_id: 'never-was' }))
  await codes('INVALID_ARGUMENT', lab.call('DeleteSnapshot', {}))
})

row('1.3.13', 'ListSnapshots: unknown ids are an empty list, an unknown token is ABORTED', async () => {
  for (const request of [{ snapshot_id: 'x' }, { source_volume_id: 'x' }])
    assert.deepEqual(good(await lab.call('ListSnapshots', request)).entries, [])
  await codes('ABORTED', lab.call('ListSnapshots', { starting_token: 'x' }))
})

row('1.3.14', 'GetSnapshot: NOT_FOUND for what there is not', () =>
  codes('NOT_FOUND', lab.call('GetSnapshot', { snapshot_id: 'never-was' })),
)

row('1.3.16', 'ControllerGetVolume: the volume, or NOT_FOUND', async () => {
  const volume_id = await freshVolume()
  const { volume } = good(await lab.call('ControllerGetVolume', { volume_id }))
  assert.equal(volume.volume_id, volume_id)
  await codes('OK', remove(volume_id))
  await codes('NOT_FOUND', lab.call('ControllerGetVolume', { volume_id }))
})

row(
  '1.3.21',
  'NodePublishVolume: unknown NOT_FOUND, other arguments ALREADY_EXISTS, too much FAILED_PRECONDITION',
  async () => {
    const wish = wishFor('pv', TAG)
    await codes('NOT_FOUND', put(wishFor('never-was')))
    await codes('OK', put(wish))
    await codes('ALREADY_EXISTS', put({ ...wish, volumeId: 'other' }))
    await codes('FAILED_PRECONDITION', put(wishFor('pv', { ...TAG, readonly: false })))
    await codes('OK', take(wish))
  },
)

row('1.3.22', 'NodeUnpublishVolume: what is gone is OK, and the target with it', async () => {
  const wish = wishFor('never-was')
  fs.mkdirSync(wish.target)
  await codes('OK', take(wish))
  assert.equal(fs.existsSync(wish.target), false)
  await codes('OK', take(wish))
})

row('1.3.23', 'NodeGetVolumeStats: NOT_FOUND where the volume is not', async () => {
  const wish = wishFor('pv', TAG)
  const ask = (volume_id: string, volume_path: string): Promise<Answer> =>
    node('NodeGetVolumeStats', { volume_id, volume_path })
  await codes('NOT_FOUND', ask('pv', wish.target))
  await codes('OK', put(wish))
  await codes('OK', ask('pv', wish.target))
  await codes('NOT_FOUND', ask('other', wish.target), ask('pv', 'some/path'), ask('pv', `${wish.target}/file`))
  await codes('INVALID_ARGUMENT', ask('', wish.target), ask('pv', ''))
  await codes('OK', take(wish))
})

row('1.3.25', 'NodeGetCapabilities are those of docs/csi.md; NodeGetInfo is the same after a restart', async () => {
  const { capabilities } = good(await node('NodeGetCapabilities', {}))
  const types = capabilities.map(({ rpc }: any) => rpc.type)
  assert.deepEqual(types, ['GET_VOLUME_STATS', 'VOLUME_MOUNT_GROUP', 'SINGLE_NODE_MULTI_WRITER'])
  const info = good(await node('NodeGetInfo', {}))
  await lab.restart()
  assert.deepEqual(good(await node('NodeGetInfo', {})), info)
})

/** Rows of the table "second NodePublish": another target is allowed, or not. */
for (const [number, mode, wish, second] of [
  ['1.4.1', 'MULTI_NODE_READER_ONLY', TAG, 'OK'],
  ['1.4.2', 'SINGLE_NODE_SINGLE_WRITER', {}, 'FAILED_PRECONDITION'],
  ['1.4.3', 'SINGLE_NODE_MULTI_WRITER', {}, 'OK'],
  ['1.4.4', 'SINGLE_NODE_WRITER', {}, 'FAILED_PRECONDITION'],
] as const)
  row(
    number,
    `${mode}: the same target OK, with other arguments ALREADY_EXISTS, another target ${second}`,
    async () => {
      const volume = wish === TAG ? 'pv-14' : await freshVolume()
      const first = wishFor(volume, { ...wish, mode })
      const others = [wishFor(volume, { ...wish, mode }), wishFor(volume, { ...wish, mode, readonly: true })]
      await codes('OK', put(first))
      await codes('OK', put(first))
      await codes('ALREADY_EXISTS', put(wish === TAG ? { ...first, volumeId: 'pv' } : { ...first, readonly: true }))
      for (const other of others) await codes(second, put(other))
      for (const each of [first, ...others]) await codes('OK', take(each))
      if (wish !== TAG) await codes('OK', remove(volume))
    },
  )

row('1.5.1', 'a tag is read-only, inline and static, whatever it asks for', async () => {
  const inline = wishFor('csi-1', {
    attributes: { label: 'web', tag: 'v1' },
    ephemeral: true,
    mode: 'SINGLE_NODE_WRITER',
  })
  for (const wish of [inline, wishFor('pv', TAG)]) {
    await codes('OK', put(wish))
    assert.throws(() => fs.writeFileSync(`${wish.target}/new`, ''), { code: 'EROFS' })
    await codes('OK', take(wish))
  }
})

row('1.5.2', 'a HEAD is a volume that is written to; no pod gets one inline', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume)
  await codes('OK', put(wish))
  fs.writeFileSync(`${wish.target}/new`, '')
  await codes('OK', take(wish))
  await codes('INVALID_ARGUMENT', put(wishFor('csi-2', { attributes: { label: 'web', tag: 'HEAD' }, ephemeral: true })))
  await codes('OK', remove(volume))
})

for (const [number, what] of [
  ['1.5.3', 'a snapshot is a commit with a tag, which can be mounted'],
  ['1.5.4', 'a volume is restored from a snapshot'],
] as const)
  row(number, what, async () => {
    const volume = await freshVolume()
    const head = wishFor(volume)
    await codes('OK', put(head))
    fs.writeFileSync(`${head.target}/file`, what)
    const { snapshot_id } = await lab.snapshot(number, volume)
    const { label } = lab.record(volume)
    const restored = (await lab.create(`restored-${number}`, fromSnapshot(snapshot_id))).volume_id
    const tag = wishFor('pv', { attributes: { label, tag: snapshot_id }, readonly: true })
    const shows = number === '1.5.3' ? tag : wishFor(restored)
    await codes('OK', put(shows))
    assert.equal(fs.readFileSync(`${shows.target}/file`, 'utf8'), what)
    await codes('OK', take(shows), take(head))
    await codes('OK', remove(volume), remove(restored), lab.call('DeleteSnapshot', { snapshot_id }))
  })

row('1.5.5', 'a volume is on the node that made it, and says so', async () => {
  const { volume_id, accessible_topology } = await lab.createFor('team-a', 'topology')
  assert.deepEqual(accessible_topology, [good(await node('NodeGetInfo', {})).accessible_topology])
  await codes('OK', remove(volume_id))
})

row('3.10.1', 'a repeat mounts nothing, also after the plugin was killed', async () => {
  const wish = wishFor('pv', TAG)
  for (let times = 0; times < 3; times++) {
    await codes('OK', put(wish))
    assert.equal(mountsAt(wish), 1)
    if (times === 1) await lab.restart()
  }
  await codes('OK', take(wish))
})

row(
  '3.10.2',
  'nothing is only in memory: what was published is unpublished by a plugin that never saw it',
  async () => {
    const volume = await freshVolume()
    const [head, tag] = [wishFor(volume), wishFor('pv', TAG)]
    await codes('OK', put(head), put(tag))
    await lab.restart()
    await codes('ALREADY_EXISTS', put({ ...tag, volumeId: 'other' }))
    await codes('OK', take(head), take(tag))
    assert.deepEqual([mountsAt(head), mountsAt(tag)], [0, 0])
    await codes('OK', remove(volume))
  },
)

row('3.10.3', 'OK means mounted: what a pod left in a bare target is not hidden by a mount', async () => {
  const wish = wishFor('pv', TAG)
  fs.mkdirSync(wish.target)
  fs.writeFileSync(`${wish.target}/written`, 'into nothing')
  await codes('FAILED_PRECONDITION', put(wish))
  assert.equal(fs.readFileSync(`${wish.target}/written`, 'utf8'), 'into nothing')
  fs.rmSync(wish.target, { recursive: true })
})

row('3.10.4', 'a mount that is used is never replaced', async () => {
  const wish = wishFor('pv', TAG)
  await codes('OK', put(wish))
  const file = fs.openSync(`${wish.target}/file`, 'r')
  const before = fs.statSync(wish.target).dev
  await codes('OK', put({ ...wish, flags: ['noexec'] }))
  assert.equal(fs.statSync(wish.target).dev, before)
  fs.closeSync(file)
  await codes('OK', take(wish))
})

row('3.10.6', 'an unpublish that is OK was looked at: a mount that is used stays, and is no OK', async () => {
  const wish = wishFor('pv', TAG)
  await codes('OK', put(wish))
  const file = fs.openSync(`${wish.target}/file`, 'r')
  await codes('FAILED_PRECONDITION', take(wish))
  assert.equal(mountsAt(wish), 1)
  fs.closeSync(file)
  await codes('OK', take(wish))
  assert.equal(mountsAt(wish), 0)
})

row('3.10.7', 'a target that cannot be unmounted is given up after a moment, and named', async () => {
  const wish = wishFor('pv', TAG)
  await codes('OK', put(wish))
  const file = fs.openSync(`${wish.target}/file`, 'r')
  const begun = performance.now()
  const { message } = await take(wish)
  assert.match(message, new RegExp(`pid ${process.pid}`))
  assert.ok(performance.now() - begun < 60_000)
  fs.closeSync(file)
  await codes('OK', take(wish))
})

row('3.10.10', 'a caller who gives up finds it done, or done by the next call', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume)
  const lock = await lockLabel(lab.store.store, lab.record(volume).label)
  const { code } = await lab.plugin().call('Node', 'NodePublishVolume', publishRequest(wish), { deadlineMs: 200 })
  assert.equal(code, 'DEADLINE_EXCEEDED')
  assert.equal(mountsAt(wish), 0)
  lock[Symbol.dispose]()
  await codes('OK', put(wish))
  await codes('OK', take(wish))
  await codes('OK', remove(volume))
})

row('3.10.11', 'who finds the volume locked waits a moment before it is told to come again', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume)
  const lock = await lockLabel(lab.store.store, lab.record(volume).label)
  const [first, second] = [put(wish), put(wish)]
  await sleep(100)
  lock[Symbol.dispose]()
  await codes('OK', first, second)
  await codes('OK', take(wish))
  await codes('OK', remove(volume))
})

row('3.10.12', 'one mount a volume, however many targets a HEAD has', async () => {
  const volume = await freshVolume()
  const wishes = Array.from({ length: 5 }, () => wishFor(volume, { mode: 'SINGLE_NODE_MULTI_WRITER' }))
  for (const wish of wishes) await codes('OK', put(wish))
  assert.deepEqual(wishes.map(mountsAt), [1, 1, 1, 1, 1])
  assert.equal(new Set(wishes.map(({ target }) => fs.statSync(target).dev)).size, 1)
  for (const wish of wishes) await codes('OK', take(wish))
  await codes('OK', remove(volume))
})

row('3.10.14', 'a group gets the root of a HEAD and nothing below it', async () => {
  const volume = await freshVolume()
  const wish = wishFor(volume)
  await codes('OK', put(wish))
  fs.writeFileSync(`${wish.target}/file`, '')
  await codes('OK', take(wish))
  await codes('OK', put({ ...wish, group: '4711' }))
  assert.deepEqual([fs.statSync(wish.target).gid, fs.statSync(`${wish.target}/file`).gid], [4711, 0])
  await codes('OK', take(wish))
  await codes('OK', remove(volume))
})

row('3.10.15', 'an SELinux context is taken with a mount of its own for each target of a tag', async () => {
  const contexts = ['system_u:object_r:a:s0', 'system_u:object_r:b:s0']
  const wishes = contexts.map(context =>
    wishFor('pv', { ...TAG, mode: 'MULTI_NODE_READER_ONLY', flags: [`context="${context}"`] }),
  )
  for (const wish of wishes) await codes('OK', put(wish))
  assert.equal(new Set(wishes.map(({ target }) => fs.statSync(target).dev)).size, 2)
  for (const wish of wishes) await codes('OK', take(wish))
})

test('every row of the tables is shown here or elsewhere, or does not apply, for a reason', () => {
  const all = Object.entries(ROWS).flatMap(([table, count]) =>
    Array.from({ length: count }, (_, i) => `${table}.${i + 1}`),
  )
  const found = [...shown, ...Object.keys(NOT_OURS), ...Object.keys(ELSEWHERE)]
  assert.deepEqual([...found].sort(), [...all].sort())
  const root = path.resolve(import.meta.dirname, '../..')
  for (const [number, file] of Object.entries(ELSEWHERE))
    assert.ok(fs.existsSync(`${root}/${file}`), `${number} ${file}`)
})
