import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { unmount } from '../../src/host/mount-api.ts'
import { startActor } from '../support/actor.ts'
import { type Answer, createCsiLab, publish, stats, unpublish, type Wish } from '../support/csi.ts'

/** What the plugin knows after it was killed: everything, from the ledger, mountinfo and kubelet's folders. */
const lab = await createCsiLab()
await lab.start()
after(() => lab[Symbol.asyncDispose]())

const TAG = { attributes: { label: 'team-a/web', tag: 'v1' }, readonly: true } as const
const HEAD = { attributes: { label: 'team-a/web' } } as const
const put = (wish: Wish): Promise<Answer> => publish(lab.client(), wish)
const take = ({ volumeId, target }: Wish): Promise<Answer> => unpublish(lab.client(), volumeId, target)

async function ok(answer: Promise<Answer>): Promise<void> {
  const { code, message } = await answer
  assert.equal(code, 'OK', message)
}

async function assertEmpty(): Promise<void> {
  await lab.until('the end of every mount', () => lab.mounts().length === 0)
  assert.deepEqual(lab.notes(), [])
}

/** What kubelet writes beside a target. */
function writeVolData({ target, volumeId }: Wish, driverName = 'stratum.csi.dev'): void {
  const data = { driverName, volumeHandle: volumeId, nodeName: 'node-1', volumeLifecycleMode: 'Persistent' }
  fs.writeFileSync(path.join(path.dirname(target), 'vol_data.json'), JSON.stringify(data))
}

test('a process in a target keeps reading and writing while the plugin is killed, away and back', async () => {
  const wish = lab.wish('pv', HEAD)
  await ok(put(wish))
  await using actor = await startActor()
  const log = `${wish.target}/log`
  await actor.run(`fd = os.open(${JSON.stringify(log)}, os.O_CREAT | os.O_RDWR)`)
  const write = async (text: string): Promise<void> => {
    await actor.run(`os.write(fd, ${JSON.stringify(text)}.encode())`)
    assert.ok(fs.readFileSync(log, 'utf8').endsWith(text))
  }
  await write('before')
  await lab.plugin().kill()
  await write('away')
  await lab.start()
  await write('back')
  await ok(put(wish))
  assert.equal(lab.mounts().length, 2, 'one overlay, one target')
  const second = lab.wish('pv', HEAD)
  await ok(put(second))
  assert.equal(fs.readFileSync(`${second.target}/log`, 'utf8'), 'beforeawayback')
  await actor.stop()
  for (const each of [wish, second]) await ok(take(each))
  await assertEmpty()
})

for (const lost of [false, true]) {
  test(`after a restart ${lost ? 'without a ledger' : ''} repeats are OK, other arguments are not, statistics are there`, async () => {
    const [tag, head] = [lab.wish('pv-tag', TAG), lab.wish('pv-head', HEAD)]
    for (const wish of [tag, head]) {
      await ok(put(wish))
      writeVolData(wish)
    }
    await lab.plugin().kill()
    if (lost) fs.rmSync(lab.ledger, { recursive: true })
    await lab.start()
    for (const wish of [tag, head]) {
      assert.equal((await stats(lab.client(), wish.volumeId, wish.target)).code, 'OK')
      await ok(put(wish))
      assert.equal((await put({ ...wish, volumeId: 'pv-other' })).code, 'ALREADY_EXISTS')
    }
    assert.equal((await put({ ...head, readonly: true })).code, 'ALREADY_EXISTS')
    assert.equal((await put({ ...tag, attributes: { label: 'team-a/web:v2' } })).code, 'ALREADY_EXISTS')
    assert.equal(lab.mounts().length, 3)
    await ok(take(tag))
    await ok(take(head))
    await assertEmpty()
  })
}

test('kubelet reconstructs volumes: without the ledger and its own notes an unpublish still cleans up', async () => {
  const [tag, head] = [lab.wish('pv-tag', TAG), lab.wish('pv-head', HEAD)]
  for (const wish of [tag, head]) await ok(put(wish))
  await lab.plugin().kill()
  fs.rmSync(lab.ledger, { recursive: true })
  await lab.start()
  for (const wish of [tag, head]) await ok(take({ ...wish, volumeId: 'reconstructed' }))
  await assertEmpty()
})

test('after a reboot everything is published anew, into targets that are still there', async () => {
  const [tag, head] = [lab.wish('pv-tag', TAG), lab.wish('pv-head', HEAD)]
  for (const wish of [tag, head]) await ok(put(wish))
  fs.writeFileSync(`${head.target}/before`, 'the reboot')
  await lab.plugin().kill()
  for (const { mountpoint } of lab.mounts()) unmount(mountpoint)
  fs.rmSync(lab.ledger, { recursive: true })
  await lab.start()
  for (const wish of [tag, head]) await ok(put(wish))
  assert.equal(fs.readFileSync(`${head.target}/before`, 'utf8'), 'the reboot')
  for (const wish of [tag, head]) await ok(take(wish))
  await assertEmpty()
})

for (const restarts of [false, true])
  test(`a HEAD that was torn from under a process by force is never doubled${restarts ? ', nor after a restart' : ''}`, async () => {
    const [torn, next] = [lab.wish('pv', HEAD), lab.wish('pv', HEAD)]
    await ok(put(torn))
    await using actor = await startActor()
    const file = `force-${restarts}`
    await actor.run(`fd = os.open(${JSON.stringify(`${torn.target}/${file}`)}, os.O_CREAT | os.O_RDWR)`)
    unmount(torn.target, 'detach')
    await ok(take(torn))
    if (restarts) {
      await lab.restart()
      await lab.until('its mount is given up', () => lab.mounts().length === 0)
      const { code, message } = await put(next)
      assert.equal(code, 'FAILED_PRECONDITION')
      assert.match(message, /is still mounted somewhere that is not seen from here/)
      await actor.run(`os.write(fd, b'one')`)
      await actor.stop()
    } else await actor.run(`os.write(fd, b'one')`)
    await ok(put(next))
    assert.equal(fs.readFileSync(`${next.target}/${file}`, 'utf8'), 'one')
    assert.equal(new Set(lab.mounts().map(({ device }) => device)).size, 1)
    await ok(take(next))
    if (!restarts) await actor.stop()
    await assertEmpty()
  })

test('a HEAD that nobody uses is unmounted at start', async () => {
  const wish = lab.wish('pv', HEAD)
  await ok(put(wish))
  await lab.plugin().kill()
  unmount(wish.target)
  assert.equal(lab.mounts().length, 1)
  await lab.start()
  await assertEmpty()
  await ok(take(wish))
})

test('damaged and foreign notes do no harm', async () => {
  const wish = lab.wish('pv', TAG)
  await ok(put(wish))
  await lab.plugin().kill()
  fs.writeFileSync(`${lab.ledger}/0123.json`, '{"target": "/etc", "label": "x"}')
  fs.writeFileSync(`${lab.ledger}/.new-1234-half.json`, '{')
  const note = lab.notes().find(name => name.length > 30) as string
  const text = fs.readFileSync(`${lab.ledger}/${note}`, 'utf8')
  fs.writeFileSync(`${lab.ledger}/${note}`, text.slice(0, 40))
  writeVolData(wish, 'another.driver')
  await lab.start()
  await ok(put(wish))
  assert.equal(lab.mounts().length, 1)
  await ok(take(wish))
  await assertEmpty()
})
