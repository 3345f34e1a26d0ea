import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { type Answer, claimOf, createRequest, MOUNT } from '../support/node-process.ts'
import { type Field, fieldsOf } from '../support/requests.ts'
import { createVolumesLab, fromSnapshot, fromVolume, good, type VolumesLab } from '../support/volumes-lab.ts'

interface Right {
  readonly request: Record<string, unknown>
  /** Fields that it cannot do without. */
  readonly required: readonly string[]
}

/** Requests that are right. */
function requests(volume: string, snapshot: string): Record<string, Right> {
  return {
    CreateVolume: {
      request: {
        ...createRequest('never-made', { parameters: { ...claimOf('team-a', 'never'), uid: '1' } }),
        capacity_range: { required_bytes: 1, limit_bytes: 2 },
        ...fromSnapshot(snapshot),
      },
      required: ['name', 'volume_capabilities'],
    },
    DeleteVolume: { request: { volume_id: 'vol-none' }, required: ['volume_id'] },
    ControllerGetVolume: { request: { volume_id: volume }, required: ['volume_id'] },
    ValidateVolumeCapabilities: {
      request: { volume_id: volume, volume_capabilities: [MOUNT] },
      required: ['volume_id', 'volume_capabilities'],
    },
    ListVolumes: { request: { max_entries: 1, starting_token: '' }, required: [] },
    ListSnapshots: { request: { snapshot_id: snapshot }, required: [] },
    GetCapacity: { request: { parameters: {} }, required: [] },
    CreateSnapshot: {
      request: { name: 'snapshot', source_volume_id: volume, parameters: {} },
      required: ['name', 'source_volume_id'],
    },
    DeleteSnapshot: { request: { snapshot_id: 'snap-none' }, required: ['snapshot_id'] },
    GetSnapshot: { request: { snapshot_id: snapshot }, required: ['snapshot_id'] },
  }
}

function nodeRequests(volume_id: string, target: string): Record<string, Right> {
  return {
    NodePublishVolume: {
      request: { volume_id, target_path: target, volume_capability: MOUNT },
      required: ['volume_id', 'target_path', 'volume_capability'],
    },
    NodeUnpublishVolume: { request: { volume_id, target_path: target }, required: ['volume_id', 'target_path'] },
    NodeGetVolumeStats: { request: { volume_id, volume_path: target }, required: ['volume_id', 'volume_path'] },
  }
}

/** Texts that may be longer than the 128 bytes that others have. */
const LONG = ['starting_token', 'target_path', 'staging_target_path', 'volume_path']
const TOO_LONG = ['a'.repeat(257), 'a'.repeat(4097), 'a'.repeat(1 << 20)]
const CONTROL = ['a\0b', 'a\nb', '\x1b[31m', '\x7f']

/** Values that no field of that kind may have, as they are put into a request. */
function badValues(field: Field): unknown[] {
  switch (field.kind) {
    case 'text':
      return [...tooLong(field), ...CONTROL].map(text => (field.repeated ? [text] : text))
    case 'map':
      return [
        ...TOO_LONG.slice(1).map(text => ({ uid: text })),
        ...CONTROL.map(text => ({ [text]: 'x' })),
        { a: 'x'.repeat(5000) },
      ]
    case 'message':
      return field.fields.flatMap(inner => badValues(inner).map(value => one(field, { [inner.name]: value })))
    case 'number':
      return field.name.endsWith('_bytes') || field.name === 'max_entries' ? [-1, -2147483648] : []
    case 'truth':
    case 'choice':
      break
  }
  return []
}

function tooLong({ name }: Field): string[] {
  if (name.endsWith('_path')) return TOO_LONG.slice(1)
  return LONG.includes(name) ? TOO_LONG : ['a'.repeat(129), ...TOO_LONG]
}

function one(field: Field, value: unknown): unknown {
  return field.repeated ? [value] : value
}

function stateOf({ store }: VolumesLab): unknown {
  return ['refs', 'state/volumes', 'state/snapshots', 'commits', 'staging'].map(folder =>
    fs.readdirSync(`${store.store.path}/${folder}`).sort(),
  )
}

test('every field of every request refuses what is over-long, negative or holds control characters, and nothing changes', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  const { snapshot_id } = await lab.snapshot('first', volume_id)
  const before = stateOf(lab)
  let tried = 0
  const target = `${lab.store.scratch}/target`
  const cases = [
    ...Object.entries(requests(volume_id, snapshot_id)).map(each => ['Controller', ...each] as const),
    ...Object.entries(nodeRequests(volume_id, target)).map(each => ['Node', ...each] as const),
  ]
  for (const [service, method, { request, required }] of cases) {
    const send = (change: object): Promise<Answer> => lab.plugin().call(service, method, { ...request, ...change })
    for (const name of required) {
      const { code, message } = await send({ [name]: undefined })
      assert.equal(code, 'INVALID_ARGUMENT', `${method} without ${name}`)
      assert.match(message, new RegExp(name), `${method} without ${name}`)
    }
    for (const field of fieldsOf(service, method)) {
      // Secrets may hold anything; the driver uses none.
      const values = field.name === 'secrets' ? [{ a: 'x'.repeat(5000) }] : badValues(field)
      for (const value of values) {
        const { code, message } = await send({ [field.name]: value })
        assert.equal(
          code,
          'INVALID_ARGUMENT',
          `${method} ${field.name} ${JSON.stringify(value).slice(0, 100)}: ${message}`,
        )
        tried++
      }
    }
  }
  assert.ok(tried > 300, `only ${tried}`)
  assert.equal(fs.existsSync(target), false)
  assert.deepEqual(stateOf(lab), before)
})

test('what means nothing is refused with the code that external-provisioner and external-snapshotter understand', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  const { snapshot_id } = await lab.snapshot('first', volume_id)
  const before = stateOf(lab)
  const create = (more: Record<string, unknown>): [string, unknown] => ['CreateVolume', createRequest('x', more)]
  const params = (parameters: Record<string, string>): [string, unknown] => create({ parameters })
  const snap = (more: Record<string, unknown>): [string, unknown] => [
    'CreateSnapshot',
    { name: 'x', source_volume_id: volume_id, ...more },
  ]
  const uses = (capability: unknown): [string, unknown] => create({ volume_capabilities: [capability] })
  const table: [[string, unknown], string][] = [
    [params({ colour: 'red' }), 'INVALID_ARGUMENT'],
    [params({ UID: '1' }), 'INVALID_ARGUMENT'],
    [params({ uid: '-1' }), 'INVALID_ARGUMENT'],
    [params({ uid: '4294967295' }), 'INVALID_ARGUMENT'],
    [params({ gid: '1e3' }), 'INVALID_ARGUMENT'],
    [params({ mode: '0999' }), 'INVALID_ARGUMENT'],
    [params({ mode: '077777' }), 'INVALID_ARGUMENT'],
    [params({ onDelete: 'head' }), 'INVALID_ARGUMENT'],
    [params({ onDelete: 'toString' }), 'INVALID_ARGUMENT'],
    [params({ 'csi.storage.k8s.io/pvc/name': 'alone' }), 'INVALID_ARGUMENT'],
    [params(claimOf('team-a/..', 'x')), 'INVALID_ARGUMENT'],
    [params(claimOf('../team-b', 'x')), 'INVALID_ARGUMENT'],
    [params(claimOf('TEAM', 'x')), 'INVALID_ARGUMENT'],
    [params(claimOf('library', 'x')), 'PERMISSION_DENIED'],
    [create({ mutable_parameters: { a: 'b' } }), 'INVALID_ARGUMENT'],
    [uses({ mount: {} }), 'INVALID_ARGUMENT'],
    [uses({ access_mode: { mode: 'SINGLE_NODE_WRITER' } }), 'INVALID_ARGUMENT'],
    [uses({ mount: {}, access_mode: { mode: 'UNKNOWN' } }), 'INVALID_ARGUMENT'],
    [uses({ mount: {}, access_mode: { mode: 99 } }), 'INVALID_ARGUMENT'],
    [uses({ block: {}, access_mode: { mode: 'SINGLE_NODE_WRITER' } }), 'INVALID_ARGUMENT'],
    [create({ volume_content_source: {} }), 'INVALID_ARGUMENT'],
    [create(fromSnapshot('')), 'INVALID_ARGUMENT'],
    [create(fromSnapshot('../../etc/passwd')), 'NOT_FOUND'],
    [create(fromSnapshot(volume_id)), 'NOT_FOUND'],
    [create(fromVolume(snapshot_id)), 'NOT_FOUND'],
    [create(fromVolume(volume_id.slice(0, -1))), 'NOT_FOUND'],
    [create(fromVolume(volume_id.toUpperCase())), 'NOT_FOUND'],
    [snap({ parameters: { consistency: 'Frozen' } }), 'INVALID_ARGUMENT'],
    [snap({ parameters: { unclean: 'maybe' } }), 'INVALID_ARGUMENT'],
    [snap({ parameters: { uid: '1' } }), 'INVALID_ARGUMENT'],
    [snap({ source_volume_id: '../x' }), 'NOT_FOUND'],
    [['ListVolumes', { starting_token: '🎟' }], 'ABORTED'],
    [['ListSnapshots', { starting_token: 'AAAA' }], 'ABORTED'],
    [['GetCapacity', { parameters: { colour: 'red' } }], 'INVALID_ARGUMENT'],
    [['ControllerPublishVolume', { volume_id }], 'UNIMPLEMENTED'],
    [['ControllerExpandVolume', { volume_id }], 'UNIMPLEMENTED'],
    [['ControllerModifyVolume', { volume_id }], 'UNIMPLEMENTED'],
  ]
  for (const [[method, request], code] of table) {
    const answer = await lab.call(method, request)
    assert.equal(answer.code, code, `${method} ${JSON.stringify(request)}: ${answer.message}`)
    assert.notEqual(answer.message, '')
  }
  assert.deepEqual(stateOf(lab), before)
  assert.equal(good(await lab.call('ListVolumes', {})).entries.length, 1)
})
