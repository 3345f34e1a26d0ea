import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { checkStore } from '../../src/repository/fsck.ts'
import { type Answer, claimOf, createRequest } from '../support/node-process.ts'
import { scaled } from '../support/scale.ts'
import { createVolumesLab, fromSnapshot, fromVolume, good, type VolumesLab } from '../support/volumes-lab.ts'

/** A call that is cut off at one of its steps, and what has to be there when it was repeated. */
interface Case {
  readonly method: string
  readonly request: unknown
  /** Holds the answer of the repeat, and the store, against what an undisturbed call makes. */
  readonly check: (answer: Answer) => Promise<void>
}

/** Between two kills that are tried when there is little time. */
const STRIDE = scaled(1) > 1 ? 1 : 4

/**
 * Kills the plugin at the n-th call of host/ that changes something, starts it again and repeats the call, for every n (or every fourth,
 * beginning with another one for each kind of call) until one comes through undisturbed. `prepare` makes what the n-th try needs.
 */
async function killEverywhere(lab: VolumesLab, first: number, prepare: (n: number) => Promise<Case>): Promise<void> {
  let kills = 0
  for (let n = first; ; n += STRIDE) {
    const { method, request, check } = await prepare(n)
    await lab.plugin().arm(`kill@${n}`)
    const cut = await lab.call(method, request)
    if (cut.code === 'OK') {
      await disarm(lab)
      await check(cut)
      break
    }
    assert.equal(cut.code, 'UNAVAILABLE', cut.message)
    await lab.plugin().gone
    kills++
    await lab.restart()
    const answer = await lab.call(method, request)
    good(answer)
    await check(answer)
    assert.deepEqual(good(await lab.call(method, request)), answer.response, `repeat after a kill at ${n}`)
    await assertIntact(lab, n)
  }
  assert.ok(kills * STRIDE > 10, `only ${kills} kills`)
}

/** The kill may still have come after the answer. */
async function disarm(lab: VolumesLab): Promise<void> {
  if (!(await lab.plugin().arm('kill@0'))) await lab.restart()
}

async function assertIntact(lab: VolumesLab, n: number): Promise<void> {
  const { settled } = await checkStore(lab.store, { repair: false, quick: true })
  const damage = settled.filter(({ finding }) => finding.severity === 'damage')
  assert.deepEqual(damage, [], `killed at ${n}`)
  const labels = fs.readdirSync(`${lab.store.store.path}/refs`)
  const heads = labels.filter(label => fs.existsSync(`${lab.store.store.path}/refs/${label}/head.toml`))
  const records = fs.readdirSync(`${lab.store.store.path}/state/volumes`).filter(name => name.endsWith('.json'))
  assert.equal(heads.length, records.length, `a HEAD for each volume, killed at ${n}`)
}

async function write(lab: VolumesLab, volume: string, content: string): Promise<void> {
  const target = await lab.publish(volume)
  fs.writeFileSync(`${target}/file`, content)
  good(await lab.unpublish(volume, target))
}

async function read(lab: VolumesLab, volume: string): Promise<string | undefined> {
  const target = await lab.publish(volume)
  const content = fs.existsSync(`${target}/file`) ? fs.readFileSync(`${target}/file`, 'utf8') : undefined
  good(await lab.unpublish(volume, target))
  return content
}

test('killed at any step of making a volume, a repeat makes the same one', async () => {
  await using lab = await createVolumesLab()
  await killEverywhere(lab, 1, async n => ({
    method: 'CreateVolume',
    request: createRequest(`pvc-${n}`, { parameters: { ...claimOf('team-a', `data-${n}`), uid: String(n) } }),
    async check({ response: { volume } }) {
      assert.equal(lab.record(volume.volume_id).label, `team-a/data-${n}`)
      assert.equal(lab.record(volume.volume_id).state, 'ready')
      assert.equal(await read(lab, volume.volume_id), undefined)
    },
  }))
})

test('killed at any step of taking a snapshot, a repeat makes the same one', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  await killEverywhere(lab, 2, async n => {
    await write(lab, volume_id, `state ${n}`)
    return {
      method: 'CreateSnapshot',
      request: { name: `snapshot-${n}`, source_volume_id: volume_id },
      async check({ response: { snapshot } }) {
        assert.equal(snapshot.ready_to_use, true)
        const restored = await lab.create(`restored-${n}`, fromSnapshot(snapshot.snapshot_id))
        assert.equal(await read(lab, restored.volume_id), `state ${n}`)
        good(await lab.call('DeleteVolume', { volume_id: restored.volume_id }))
      },
    }
  })
})

test('killed at any step of a clone, a repeat makes the same one', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  await killEverywhere(lab, 3, async n => {
    await write(lab, volume_id, `state ${n}`)
    return {
      method: 'CreateVolume',
      request: createRequest(`clone-${n}`, fromVolume(volume_id)),
      check: async ({ response: { volume } }) => assert.equal(await read(lab, volume.volume_id), `state ${n}`),
    }
  })
})

test('killed at any step of a deletion, a repeat deletes it, and nothing else', async () => {
  await using lab = await createVolumesLab()
  const kept = await lab.createFor('team-a', 'kept')
  await write(lab, kept.volume_id, 'kept')
  await killEverywhere(lab, 1, async n => {
    const parameters = { ...claimOf('team-a', `data-${n}`), onDelete: n % 2 === 0 ? 'Label' : 'Head' }
    const volume = await lab.create(`pvc-${n}`, { parameters })
    await write(lab, volume.volume_id, `state ${n}`)
    return {
      method: 'DeleteVolume',
      request: { volume_id: volume.volume_id },
      async check() {
        const { entries } = good(await lab.call('ListVolumes', {}))
        assert.deepEqual(
          entries.map((entry: any) => entry.volume.volume_id),
          [kept.volume_id],
        )
        assert.equal(await read(lab, kept.volume_id), 'kept')
      },
    }
  })
})

test('killed at any step of deleting a snapshot, a repeat deletes it, and no other tag', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  await write(lab, volume_id, 'kept')
  const kept = await lab.snapshot('kept', volume_id)
  let n = 0
  for (let isCut = true; isCut; ) {
    n++
    const { snapshot_id } = await lab.snapshot(`snapshot-${n}`, volume_id)
    await lab.plugin().arm(`kill@${n}`)
    isCut = (await lab.call('DeleteSnapshot', { snapshot_id })).code !== 'OK'
    if (isCut) {
      await lab.plugin().gone
      await lab.restart()
      good(await lab.call('DeleteSnapshot', { snapshot_id }))
    } else await disarm(lab)
    const { entries } = good(await lab.call('ListSnapshots', {}))
    assert.deepEqual(
      entries.map((entry: any) => entry.snapshot.snapshot_id),
      [kept.snapshot_id],
    )
    assert.deepEqual(fs.readdirSync(`${lab.label('team-a/data')}/tags`), [kept.snapshot_id])
  }
  assert.ok(n > 5, `only ${n} steps`)
})
