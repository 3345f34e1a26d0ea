import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { checkStore } from '../../src/repository/fsck.ts'
import { claimOf, createRequest } from '../support/node-process.ts'
import { scaled } from '../support/scale.ts'
import { createVolumesLab, fromSnapshot, good, type VolumesLab } from '../support/volumes-lab.ts'

/** Codes after which external-provisioner comes again with the same request; after any other it forgets it. */
const NOT_FINAL = ['UNAVAILABLE', 'ABORTED', 'DEADLINE_EXCEEDED', 'CANCELLED']

/** Names in the folders that a call could leave something in. */
function traces({ store }: VolumesLab): unknown {
  const names = (folder: string): string[] =>
    fs.existsSync(`${store.store.path}/${folder}`) ? fs.readdirSync(`${store.store.path}/${folder}`).sort() : []
  const labels = names('refs')
  const parts = labels.map(label => names(`refs/${label}`).filter(part => part.startsWith('head')))
  const tags = labels.map(label => names(`refs/${label}/tags`))
  return [names('state/volumes'), names('state/snapshots'), labels, parts, tags]
}

/** Lets the n-th call of host/ that changes something fail, for every n, or every `stride`th; holds what is left against the code, then repeats the call. */
async function failEverywhere(
  lab: VolumesLab,
  method: string,
  stride: number,
  prepare: (n: number) => Promise<{ request: unknown; undo: (response: any) => Promise<void> }>,
): Promise<void> {
  for (let n = 1; ; n += stride) {
    const { request, undo } = await prepare(n)
    const before = traces(lab)
    await lab.plugin().arm(`ENOSPC@${n}`)
    const answer = await lab.call(method, request)
    await lab.plugin().arm('ENOSPC@0')
    assert.ok(!['INTERNAL', 'UNKNOWN'].includes(answer.code), `${answer.code} at ${n}: ${answer.message}`)
    if (answer.code !== 'OK' && !NOT_FINAL.includes(answer.code))
      assert.deepEqual(
        withoutEmptyLabels(traces(lab)),
        withoutEmptyLabels(before),
        `${answer.code} at ${n} left something`,
      )
    const repeated = answer.code === 'OK' ? answer : await lab.call(method, request)
    await undo(good(repeated))
    if (answer.code === 'OK') {
      const { settled } = await checkStore(lab.store, { repair: false, quick: true })
      assert.deepEqual(
        settled.filter(({ finding }) => finding.severity === 'damage'),
        [],
      )
      assert.ok(n > 10, `only ${n} calls`)
      if (n > LAST) return
    }
  }
}

/** Some calls that fail do not matter (clearing away); behind them others follow. */
const LAST = 52

/** The folder of a label with its lock and log may stay: it says nothing. */
function withoutEmptyLabels(found: unknown): unknown {
  const [volumes, snapshots, labels, parts, tags] = found as [string[], string[], string[], string[][], string[][]]
  const used = labels
    .map((label, i) => [label, parts[i], tags[i]])
    .filter((_, i) => parts[i].length + tags[i].length > 0)
  return [volumes, snapshots, used]
}

test('a volume whose making fails at any step leaves nothing, or is made by the repeat', async () => {
  await using lab = await createVolumesLab()
  await failEverywhere(lab, 'CreateVolume', 1, async n => ({
    request: createRequest(`pvc-${n}`, { parameters: { ...claimOf('team-a', `data-${n}`), uid: String(n) } }),
    async undo({ volume }) {
      assert.equal(lab.record(volume.volume_id).label, `team-a/data-${n}`)
      good(await lab.call('DeleteVolume', { volume_id: volume.volume_id }))
    },
  }))
})

test('a snapshot whose taking fails at any step leaves nothing, or is taken by the repeat', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  await failEverywhere(lab, 'CreateSnapshot', scaled(1) > 1 ? 1 : 3, async n => {
    const target = await lab.publish(volume_id)
    fs.writeFileSync(`${target}/file`, `state ${n}`)
    good(await lab.unpublish(volume_id, target))
    return {
      request: { name: `snapshot-${n}`, source_volume_id: volume_id },
      async undo({ snapshot }) {
        const restored = await lab.create(`restored-${n}`, fromSnapshot(snapshot.snapshot_id))
        const at = await lab.publish(restored.volume_id)
        assert.equal(fs.readFileSync(`${at}/file`, 'utf8'), `state ${n}`)
        good(await lab.unpublish(restored.volume_id, at))
        good(await lab.call('DeleteVolume', { volume_id: restored.volume_id }))
        good(await lab.call('DeleteSnapshot', { snapshot_id: snapshot.snapshot_id }))
      },
    }
  })
})
