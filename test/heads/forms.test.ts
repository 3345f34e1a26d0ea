import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { readMounts } from '../../src/host/mountinfo.ts'
import { startActor } from '../support/actor.ts'
import { createLab, openLab } from '../support/lab.ts'

/** The ways in which older kernels take the layers, forced on this one. */
for (const form of ['attached', 'loop', 'detached'] as const) {
  test(`HEAD works with layers that are ${form}`, {
    skip: form === 'loop' && !fs.existsSync('/dev/loop-control'),
  }, async t => {
    process.env.STRATUM_MOUNT_FORM = form
    t.after(() => delete process.env.STRATUM_MOUNT_FORM)
    const lab = await createLab({ 'd/file': 'base '.repeat(40), 'd/other': 'other' })
    const at = (name: string): string => path.join(lab.head, name)
    await lab.mount()
    fs.linkSync(at('d/file'), at('linked'))
    fs.appendFileSync(at('linked'), 'more')
    fs.renameSync(at('d'), at('moved'))
    await assert.rejects(lab.mount('app', lab.makeFolder('second')), /one HEAD has one mount/)
    const swapped = await lab.commit({ consistency: 'freeze' })
    assert.equal(swapped.remounted.how, 'swapped')
    assert.equal(await lab.import(lab.head, 'again'), swapped.commit.metadata.id)
    assert.equal(fs.statSync(at('linked')).ino, fs.statSync(at('moved/file')).ino)
    fs.appendFileSync(at('moved/file'), 'through the other name')
    assert.match(fs.readFileSync(at('linked'), 'utf8'), /through the other name$/)
    await using writer = await startActor()
    await writer.run(`fd = os.open(${JSON.stringify(at('linked'))}, os.O_RDWR)`)
    await assert.rejects(lab.commit({ consistency: 'idle' }), /open for writing/)
    assert.equal((await lab.commit()).remounted.how, 'later')
    await writer.stop()
    assert.equal((await lab.unmount()).folded, false, 'who had it open may have written to it')
    const folded = await lab.commit({ consistency: 'idle' })
    assert.equal(folded.remounted.how, 'folded')
    await lab.mount()
    assert.equal(await lab.import(lab.head, 'again'), folded.commit.metadata.id)
    await lab.unmount()
    assert.deepEqual(
      readMounts().filter(({ mountpoint }) => mountpoint.startsWith('/run/stratum/layers')),
      [],
    )
  })
}

test('a store on tmpfs, from which the kernel cannot mount an image as it is, works over a loop device', {
  skip: !fs.existsSync('/dev/loop-control'),
}, async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lab-'))
  execFileSync('mount', ['-t', 'tmpfs', 'stratum-test', folder])
  t.after(() => execFileSync('umount', ['--lazy', folder]))
  const lab = openLab(folder)
  const source = lab.makeFolder('source')
  fs.writeFileSync(path.join(source, 'file'), 'base '.repeat(100))
  await lab.import(source)
  await lab.mount()
  fs.appendFileSync(path.join(lab.head, 'file'), 'more')
  const { commit, remounted } = await lab.commit()
  assert.equal(remounted.how, 'swapped')
  assert.equal(await lab.import(lab.head, 'again'), commit.metadata.id)
  await lab.unmount()
})
