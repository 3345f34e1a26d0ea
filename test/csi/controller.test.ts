import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { claimOf, createRequest, MOUNT } from '../support/node-process.ts'
import { createVolumesLab, fromSnapshot, fromVolume, good, type VolumesLab } from '../support/volumes-lab.ts'

const BYTES = { required_bytes: 1 << 20 }

async function codeOf(lab: VolumesLab, method: string, request: unknown): Promise<string> {
  return (await lab.call(method, request)).code
}

/** Content of a volume, read through a mount of its own. */
async function read(lab: VolumesLab, volume: string, file: string): Promise<string | undefined> {
  const target = await lab.publish(volume)
  const content = fs.existsSync(`${target}/${file}`) ? fs.readFileSync(`${target}/${file}`, 'utf8') : undefined
  good(await lab.unpublish(volume, target))
  return content
}

async function write(lab: VolumesLab, volume: string, file: string, content: string): Promise<void> {
  const target = await lab.publish(volume)
  fs.writeFileSync(`${target}/${file}`, content)
  good(await lab.unpublish(volume, target))
}

test('a volume is the empty HEAD of its claim’s label, with the owner and mode of its class', async () => {
  await using lab = await createVolumesLab()
  const parameters = { ...claimOf('team-a', 'data'), uid: '1001', gid: '1002', mode: '0770' }
  const volume = await lab.create('pvc-1', { parameters, capacity_range: BYTES })
  assert.deepEqual(volume.accessible_topology, [{ segments: { 'topology.stratum.csi.dev/node': 'node-1' } }])
  assert.equal(volume.capacity_bytes, String(1 << 20))
  assert.deepEqual(volume.volume_context, {})
  assert.ok(fs.existsSync(`${lab.label('team-a/data')}/head.toml`))
  const target = await lab.publish(volume.volume_id)
  const { uid, gid, mode } = fs.statSync(target)
  assert.deepEqual([uid, gid, mode & 0o7777], [1001, 1002, 0o770])
  assert.deepEqual(fs.readdirSync(target), [])
})

test('a repeat of a creation answers the same, also after a restart; another request of that name is refused', async () => {
  await using lab = await createVolumesLab()
  const request = createRequest('pvc-1', { capacity_range: BYTES, parameters: claimOf('team-a', 'data') })
  const first = good(await lab.call('CreateVolume', request))
  await write(lab, first.volume.volume_id, 'file', 'kept')
  assert.deepEqual(good(await lab.call('CreateVolume', request)), first)
  await lab.restart()
  assert.deepEqual(good(await lab.call('CreateVolume', request)), first)
  assert.equal(await read(lab, first.volume.volume_id, 'file'), 'kept')
  const others = [
    { capacity_range: { required_bytes: 2 << 20 } },
    { capacity_range: { limit_bytes: 1 << 10 } },
    { parameters: { ...claimOf('team-a', 'data'), uid: '7' } },
    { parameters: { ...claimOf('team-a', 'data'), onDelete: 'Label' } },
    { parameters: claimOf('team-a', 'other') },
    fromVolume(first.volume.volume_id),
  ]
  for (const other of others)
    assert.equal(await codeOf(lab, 'CreateVolume', { ...request, ...other }), 'ALREADY_EXISTS', JSON.stringify(other))
})

test('requests of one name at once make one volume, whoever gives up', async () => {
  await using lab = await createVolumesLab()
  const request = createRequest('pvc-1', { parameters: claimOf('team-a', 'data') })
  const controller = new AbortController()
  const impatient = lab.plugin().call('Controller', 'CreateVolume', request, { signal: controller.signal })
  setTimeout(() => controller.abort(), 3)
  const answers = await Promise.all(Array.from({ length: 8 }, () => lab.call('CreateVolume', request)))
  assert.ok(['CANCELLED', 'OK'].includes((await impatient).code))
  const done = answers.filter(({ code }) => code === 'OK')
  assert.ok(done.length > 0)
  assert.ok(answers.every(({ code }) => code === 'OK' || code === 'ABORTED'))
  assert.equal(new Set(done.map(({ response }) => response.volume.volume_id)).size, 1)
  assert.deepEqual(good(await lab.call('ListVolumes', {})).entries.length, 1)
})

test('a claim that is made again is empty and has its label’s tags; while the old HEAD is retained, it gets a label of its own', async () => {
  await using lab = await createVolumesLab()
  const old = await lab.createFor('team-a', 'data', '11111111-aaaa')
  await write(lab, old.volume_id, 'file', 'old')
  const { snapshot_id } = await lab.snapshot('snapshot-1', old.volume_id)
  const beside = await lab.createFor('team-a', 'data', '22222222-bbbb')
  assert.equal(lab.record(beside.volume_id).label, 'team-a/data-22222222')
  assert.equal(await read(lab, beside.volume_id, 'file'), undefined)
  good(await lab.call('DeleteVolume', { volume_id: old.volume_id }))
  const again = await lab.createFor('team-a', 'data', '33333333-cccc')
  assert.equal(lab.record(again.volume_id).label, 'team-a/data')
  assert.equal(await read(lab, again.volume_id, 'file'), undefined)
  assert.deepEqual(fs.readdirSync(`${lab.label('team-a/data')}/tags`), [snapshot_id])
})

test('names that a label cannot have are shortened, and never the same for two', async () => {
  await using lab = await createVolumesLab()
  const names = ['A'.repeat(100), 'a'.repeat(100), '../../etc/passwd', 'Ünïcode', '%2F', 'x'.repeat(128)]
  const labels = new Set<string>()
  for (const name of names) labels.add(lab.record((await lab.create(name)).volume_id).label)
  assert.equal(labels.size, names.length)
  for (const label of labels) assert.match(label, /^[a-z0-9]+(-+[a-z0-9]+)*$/)
  const long = await lab.createFor('team-a', `${'long.'.repeat(24)}name`.slice(0, 124), '1')
  assert.match(lab.record(long.volume_id).label, /^team-a\/long/)
})

test('a snapshot is a commit with a tag; what a volume is restored to does not change with either', async () => {
  await using lab = await createVolumesLab()
  const volume = await lab.createFor('team-a', 'data')
  await write(lab, volume.volume_id, 'file', 'one')
  const snapshot = await lab.snapshot('snapshot-1', volume.volume_id)
  assert.equal(snapshot.ready_to_use, true)
  assert.equal(snapshot.source_volume_id, volume.volume_id)
  assert.ok(Math.abs(Number(snapshot.creation_time.seconds) - Date.now() / 1000) < 3600)
  await write(lab, volume.volume_id, 'file', 'two')
  assert.deepEqual(await lab.snapshot('snapshot-1', volume.volume_id), snapshot)
  const other = await lab.createFor('team-a', 'other')
  const clash = { name: 'snapshot-1', source_volume_id: other.volume_id }
  assert.equal(await codeOf(lab, 'CreateSnapshot', clash), 'ALREADY_EXISTS')
  const restored = await lab.create('pvc-restored', fromSnapshot(snapshot.snapshot_id))
  assert.deepEqual(restored.content_source.snapshot, { snapshot_id: snapshot.snapshot_id })
  assert.equal(await read(lab, restored.volume_id, 'file'), 'one')
  good(await lab.call('DeleteSnapshot', { snapshot_id: snapshot.snapshot_id }))
  good(await lab.call('DeleteSnapshot', { snapshot_id: snapshot.snapshot_id }))
  assert.equal(await codeOf(lab, 'GetSnapshot', { snapshot_id: snapshot.snapshot_id }), 'NOT_FOUND')
  assert.deepEqual(fs.readdirSync(`${lab.label('team-a/data')}/tags`), [])
  assert.equal(lab.store.run(['gc', '--now']).status, 0)
  assert.equal(await read(lab, restored.volume_id, 'file'), 'one')
  assert.equal(await read(lab, volume.volume_id, 'file'), 'two')
  assert.equal(
    await codeOf(lab, 'CreateVolume', createRequest('late', fromSnapshot(snapshot.snapshot_id))),
    'NOT_FOUND',
  )
})

test('a snapshot outlives its volume, and a volume that it was restored to outlives both', async () => {
  await using lab = await createVolumesLab()
  const volume = await lab.createFor('team-a', 'data')
  await write(lab, volume.volume_id, 'file', 'one')
  const { snapshot_id } = await lab.snapshot('snapshot-1', volume.volume_id)
  good(await lab.call('DeleteVolume', { volume_id: volume.volume_id }))
  assert.equal(lab.store.run(['gc', '--now']).status, 0)
  const restored = await lab.create('pvc-restored', fromSnapshot(snapshot_id))
  assert.equal(await read(lab, restored.volume_id, 'file'), 'one')
  assert.equal(good(await lab.call('GetSnapshot', { snapshot_id })).snapshot.source_volume_id, volume.volume_id)
})

test('a clone begins with what its source holds, and leaves no tag in it', async () => {
  await using lab = await createVolumesLab()
  const volume = await lab.createFor('team-a', 'data')
  const target = await lab.publish(volume.volume_id)
  fs.writeFileSync(`${target}/file`, 'one')
  const clone = await lab.create('pvc-clone', fromVolume(volume.volume_id))
  assert.deepEqual(clone.content_source.volume, { volume_id: volume.volume_id })
  fs.writeFileSync(`${target}/file`, 'two')
  assert.equal(await read(lab, clone.volume_id, 'file'), 'one')
  await write(lab, clone.volume_id, 'file', 'three')
  assert.equal(fs.readFileSync(`${target}/file`, 'utf8'), 'two')
  assert.deepEqual(fs.existsSync(`${lab.label('team-a/data')}/tags`), false)
  good(await lab.unpublish(volume.volume_id, target))
  good(await lab.call('DeleteVolume', { volume_id: volume.volume_id }))
  assert.equal(lab.store.run(['gc', '--now']).status, 0)
  assert.equal(await read(lab, clone.volume_id, 'file'), 'three')
})

test('onDelete: Head keeps named tags; Label keeps those of snapshots, or nothing', async () => {
  await using lab = await createVolumesLab()
  for (const [claim, onDelete, hasSnapshot, left] of [
    ['head', 'Head', true, ['mine', 'snap']],
    ['both', 'Label', true, ['snap']],
    ['label', 'Label', false, undefined],
  ] as const) {
    const parameters = { ...claimOf('team-a', claim), onDelete }
    const volume = await lab.create(`pvc-${claim}`, { parameters })
    await write(lab, volume.volume_id, 'file', claim)
    assert.equal(lab.store.run(['commit', `team-a/${claim}:mine`]).status, 0)
    if (hasSnapshot) await lab.snapshot(`snapshot-${claim}`, volume.volume_id)
    good(await lab.call('DeleteVolume', { volume_id: volume.volume_id }))
    const folder = lab.label(`team-a/${claim}`)
    const tags = left === undefined ? undefined : fs.readdirSync(`${folder}/tags`).map(tag => tag.split('-')[0])
    assert.deepEqual(tags, left)
    assert.equal(fs.existsSync(`${folder}/head`), false)
    assert.equal(fs.existsSync(folder), left !== undefined)
  }
})

test('a volume is not deleted while it is published; a deletion of what is gone is done', async () => {
  await using lab = await createVolumesLab()
  const volume = await lab.createFor('team-a', 'data')
  const target = await lab.publish(volume.volume_id)
  fs.writeFileSync(`${target}/file`, 'kept')
  const refused = await lab.call('DeleteVolume', { volume_id: volume.volume_id })
  assert.equal(refused.code, 'FAILED_PRECONDITION')
  assert.match(refused.message, /published at/)
  assert.equal(fs.readFileSync(`${target}/file`, 'utf8'), 'kept')
  good(await lab.unpublish(volume.volume_id, target))
  for (let repeat = 0; repeat < 2; repeat++) good(await lab.call('DeleteVolume', { volume_id: volume.volume_id }))
  good(await lab.call('DeleteVolume', { volume_id: 'never-was' }))
  assert.equal(await codeOf(lab, 'ControllerGetVolume', { volume_id: volume.volume_id }), 'NOT_FOUND')
  assert.deepEqual(good(await lab.call('ListVolumes', {})).entries, [])
})

test('what another node’s store has made is not here: neither deleted nor restored, and the scheduler looks on', async () => {
  await using lab = await createVolumesLab()
  const volume = `vol-00000000-${'0'.repeat(24)}`
  const snapshot = `snap-00000000-${'0'.repeat(24)}`
  const foreign: [string, unknown, string][] = [
    ['DeleteVolume', { volume_id: volume }, 'RESOURCE_EXHAUSTED'],
    ['DeleteSnapshot', { snapshot_id: snapshot }, 'RESOURCE_EXHAUSTED'],
    ['CreateVolume', createRequest('a', fromSnapshot(snapshot)), 'RESOURCE_EXHAUSTED'],
    ['CreateVolume', createRequest('b', fromVolume(volume)), 'RESOURCE_EXHAUSTED'],
    ['CreateSnapshot', { name: 'c', source_volume_id: volume }, 'RESOURCE_EXHAUSTED'],
    ['ControllerGetVolume', { volume_id: volume }, 'NOT_FOUND'],
    ['GetSnapshot', { snapshot_id: snapshot }, 'NOT_FOUND'],
  ]
  for (const [method, request, code] of foreign) assert.equal(await codeOf(lab, method, request), code, method)
  const elsewhere = {
    accessibility_requirements: { requisite: [{ segments: { 'topology.stratum.csi.dev/node': 'other' } }] },
  }
  assert.equal(await codeOf(lab, 'CreateVolume', createRequest('d', elsewhere)), 'RESOURCE_EXHAUSTED')
  const there = { accessible_topology: elsewhere.accessibility_requirements.requisite[0] }
  assert.equal(good(await lab.call('GetCapacity', there)).available_capacity, '0')
  assert.ok(Number(good(await lab.call('GetCapacity', {})).available_capacity) > 0)
  assert.deepEqual(good(await lab.call('ListVolumes', {})).entries, [])
})

test('lists go on behind a token after a restart, and after what it names was deleted', async () => {
  await using lab = await createVolumesLab()
  const ids: string[] = []
  for (let i = 0; i < 5; i++) ids.push((await lab.create(`pvc-${i}`)).volume_id)
  const page = async (token: string): Promise<{ found: string[]; next: string }> => {
    const { entries, next_token } = good(await lab.call('ListVolumes', { max_entries: 2, starting_token: token }))
    return { found: entries.map(({ volume }: any) => volume.volume_id), next: next_token }
  }
  const first = await page('')
  assert.deepEqual(first.found, ids.slice(0, 2))
  good(await lab.call('DeleteVolume', { volume_id: ids[1] }))
  await lab.restart()
  ids.push((await lab.create('pvc-later')).volume_id)
  const second = await page(first.next)
  const third = await page(second.next)
  assert.deepEqual([...second.found, ...third.found], ids.slice(2))
  assert.equal(third.next, '')
  const bad = await lab.call('ListVolumes', { starting_token: 'nonsense' })
  assert.equal(bad.code, 'ABORTED')
  assert.equal(await codeOf(lab, 'ListVolumes', { max_entries: -1 }), 'INVALID_ARGUMENT')
})

test('snapshots are listed by id, by source, and page by page; unknown ones are an empty list', async () => {
  await using lab = await createVolumesLab()
  const [one, two] = [await lab.create('one'), await lab.create('two')]
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push((await lab.snapshot(`s${i}`, one.volume_id)).snapshot_id)
  ids.push((await lab.snapshot('s3', two.volume_id)).snapshot_id)
  const list = async (request: unknown): Promise<string[]> =>
    good(await lab.call('ListSnapshots', request)).entries.map(({ snapshot }: any) => snapshot.snapshot_id)
  assert.deepEqual(await list({}), ids)
  assert.deepEqual(await list({ snapshot_id: ids[1] }), [ids[1]])
  assert.deepEqual(await list({ snapshot_id: ids[1], source_volume_id: two.volume_id }), [])
  assert.deepEqual(await list({ source_volume_id: two.volume_id }), [ids[3]])
  for (const unknown of [
    { snapshot_id: 'none' },
    { source_volume_id: 'none' },
    { snapshot_id: `snap-00000000-${'0'.repeat(24)}` },
  ])
    assert.deepEqual(await list(unknown), [])
  const { entries, next_token } = good(await lab.call('ListSnapshots', { max_entries: 3 }))
  assert.equal(entries.length, 3)
  assert.deepEqual(await list({ starting_token: next_token }), ids.slice(3))
})

test('a HEAD that was lost is an error and never an empty volume', async () => {
  await using lab = await createVolumesLab()
  const volume = await lab.createFor('team-a', 'data')
  fs.rmSync(lab.label('team-a/data'), { recursive: true })
  await lab.restart()
  const again = await lab.call('CreateVolume', createRequest('pvc-data-uid', { parameters: claimOf('team-a', 'data') }))
  assert.equal(again.code, 'DATA_LOSS')
  const request = { volume_id: volume.volume_id, target_path: `${lab.store.scratch}/t`, volume_capability: MOUNT }
  assert.notEqual((await lab.plugin().call('Node', 'NodePublishVolume', request)).code, 'OK')
  assert.equal(await codeOf(lab, 'CreateSnapshot', { name: 's', source_volume_id: volume.volume_id }), 'NOT_FOUND')
  assert.equal(fs.existsSync(`${lab.label('team-a/data')}/head`), false)
  good(await lab.call('DeleteVolume', { volume_id: volume.volume_id }))
})

test('a snapshot whose commit is gone says so, and nothing is restored from it', async () => {
  await using lab = await createVolumesLab()
  const volume = await lab.createFor('team-a', 'data')
  await write(lab, volume.volume_id, 'file', 'one')
  const { snapshot_id } = await lab.snapshot('s', volume.volume_id)
  await write(lab, volume.volume_id, 'file', 'two')
  assert.equal(lab.store.run(['commit', 'team-a/data:v2']).status, 0)
  assert.equal(lab.store.run(['remove', `team-a/data:${snapshot_id}`]).status, 0)
  assert.equal(lab.store.run(['gc', '--now']).status, 0)
  assert.equal(good(await lab.call('GetSnapshot', { snapshot_id })).snapshot.ready_to_use, false)
  assert.equal(await codeOf(lab, 'CreateVolume', createRequest('r', fromSnapshot(snapshot_id))), 'NOT_FOUND')
  assert.deepEqual(good(await lab.call('ListVolumes', {})).entries.length, 1)
  good(await lab.call('DeleteSnapshot', { snapshot_id }))
})

test('capabilities are confirmed or explained', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.create('pvc-1')
  const ask = async (capability: unknown): Promise<any> =>
    good(await lab.call('ValidateVolumeCapabilities', { volume_id, volume_capabilities: [capability] }))
  for (const mode of [
    'SINGLE_NODE_WRITER',
    'SINGLE_NODE_READER_ONLY',
    'SINGLE_NODE_SINGLE_WRITER',
    'SINGLE_NODE_MULTI_WRITER',
  ])
    assert.ok((await ask({ mount: {}, access_mode: { mode } })).confirmed)
  for (const capability of [
    { block: {}, access_mode: { mode: 'SINGLE_NODE_WRITER' } },
    { mount: {}, access_mode: { mode: 'MULTI_NODE_MULTI_WRITER' } },
    { mount: { fs_type: 'xfs' }, access_mode: { mode: 'SINGLE_NODE_WRITER' } },
  ]) {
    const { confirmed, message } = await ask(capability)
    assert.equal(confirmed, null)
    assert.notEqual(message, '')
    assert.equal(
      await codeOf(lab, 'CreateVolume', { name: 'other', volume_capabilities: [capability] }),
      'INVALID_ARGUMENT',
    )
  }
})

test('a volume with more than the disk has is refused', async () => {
  await using lab = await createVolumesLab()
  for (const [range, code] of [
    [{ required_bytes: '4503599627370496' }, 'RESOURCE_EXHAUSTED'],
    [{ required_bytes: '9223372036854775807' }, 'OUT_OF_RANGE'],
    [{ required_bytes: 2, limit_bytes: 1 }, 'OUT_OF_RANGE'],
    [{ required_bytes: -1 }, 'INVALID_ARGUMENT'],
    [{ limit_bytes: -1 }, 'INVALID_ARGUMENT'],
  ] as const)
    assert.equal(await codeOf(lab, 'CreateVolume', createRequest('big', { capacity_range: range })), code)
  assert.deepEqual(good(await lab.call('ListVolumes', {})).entries, [])
})
