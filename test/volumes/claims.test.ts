import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { readHead } from '../../src/refs/head-file.ts'
import type { ClaimWishes } from '../../src/volumes/claims.ts'
import { createVolume } from '../../src/volumes/create-volume.ts'
import { openVolumes } from '../../src/volumes/recover.ts'
import { parseVolumeParameters } from '../../src/volumes/volume-parameters.ts'
import type { VolumeRecord } from '../../src/volumes/volume-record.ts'
import { allVolumes } from '../../src/volumes/volume-store.ts'
import { type HolderArbiter, SOLE_HOLDER, type Volumes } from '../../src/volumes/volumes.ts'
import { StratumError } from '../../src/errors/stratum-error.ts'
import { createTestStore, type TestStore } from '../support/store.ts'

const { signal } = new AbortController()

async function open(store: TestStore, holders: HolderArbiter = SOLE_HOLDER): Promise<Volumes> {
  const driver = {
    name: 'stratum.csi.dev',
    nodeId: 'node-1',
    kubeletDir: undefined,
    headsDir: `${store.scratch}/heads`,
  }
  return openVolumes(store.store, driver, holders)
}

/** A volume for the claim `team-a/data`, which says this. Returns it and what was written on the claim. */
async function createFor(
  volumes: Volumes,
  wishes: Partial<ClaimWishes>,
  name = 'pvc-1',
): Promise<{ record: VolumeRecord; told: string[] }> {
  const told: string[] = []
  const claims = {
    read: async () => ({ uid: undefined, label: undefined, from: undefined, ...wishes }),
    tellLabel: async (_claim: unknown, label: string) => void told.push(label),
  }
  const claim = { namespace: 'team-a', name: 'data' }
  const request = {
    name,
    parameters: parseVolumeParameters({}),
    requiredBytes: 0,
    limitBytes: 0,
    source: undefined,
    claim,
  }
  return { record: await createVolume(volumes, request, claims, signal), told }
}

test('a claim’s annotation names the label, in its namespace, and the claim is told which it got', async () => {
  const volumes = await open(createTestStore())
  const { record, told } = await createFor(volumes, { label: 'models/llama' })
  assert.equal(record.label, 'team-a/models/llama')
  assert.deepEqual(told, ['team-a/models/llama'])
  const beside = await createFor(volumes, { label: 'models/llama', uid: '12345678-9abc' }, 'pvc-2')
  assert.equal(beside.record.label, 'team-a/models/llama-12345678')
})

test('stratum.dev/from begins a volume with a tag of its own namespace or of the library', async () => {
  const store = createTestStore()
  const own = await store.importFiles('team-a/web:v1', { file: 'own' })
  const shared = await store.importFiles('library/base:v1', { file: 'shared' })
  await store.importFiles('team-b/secret:v1', { file: 'secret' })
  const volumes = await open(store)
  assert.equal((await createFor(volumes, { from: 'web:v1' })).record.commit, own)
  const { record } = await createFor(volumes, { from: 'library/base:v1' }, 'pvc-2')
  assert.equal(record.commit, shared)
  assert.equal(readHead(store.store, record.label)?.base, shared)
  const refused: [string, string][] = [
    ['team-b/secret:v1', 'wrong-node'], // team-a/team-b/secret
    ['web:v2', 'wrong-node'],
    ['../team-b/secret:v1', 'usage'],
    ['library/../team-b/secret:v1', 'usage'],
    ['web', 'usage'],
    ['web:HEAD', 'usage'],
    ['', 'usage'],
  ]
  for (const [from, code] of refused)
    await assert.rejects(
      createFor(volumes, { from }, 'pvc-3'),
      error => isStratumError(error) && error.code === code,
      from,
    )
  assert.equal(allVolumes(store.store).length, 2)
})

test('labels of other namespaces cannot be asked for', async () => {
  const volumes = await open(createTestStore())
  for (const label of ['../team-b/web', '/web', 'Web', 'web:v1', '..', 'a'.repeat(300)])
    await assert.rejects(createFor(volumes, { label }), error => isStratumError(error, 'usage'), label)
  assert.deepEqual(allVolumes(volumes.store), [])
})

test('a label whose HEAD another node holds is not taken; one that a failed call took is given back', async () => {
  const released: string[] = []
  const volumes = await open(createTestStore(), {
    async take(label) {
      if (label === 'team-a/data') throw new StratumError('other-holder', 'node-2 holds it')
    },
    release: async label => void released.push(label),
    requireNamespace: async () => undefined,
  })
  const { record } = await createFor(volumes, { uid: 'abcdef01-2' })
  assert.equal(record.label, 'team-a/data-abcdef01')
  assert.deepEqual(released, [])
})
