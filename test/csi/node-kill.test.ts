import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { type Answer, createCsiLab, publish, unpublish, type Wish } from '../support/csi.ts'

/**
 * The plugin is killed before each of its changing calls, in a process of its own, or the call fails. Then it is started again and the
 * call repeated, as kubelet does: the same answer, one mount, and nothing left when it is unpublished.
 */
const STEPS_MAX = 200
const lab = await createCsiLab()
await lab.start()
after(() => lab[Symbol.asyncDispose]())

const TAG = { attributes: { label: 'team-a/web', tag: 'v1' }, readonly: true } as const
const HEAD = { attributes: { label: 'team-a/web' } } as const

const folderOfHead = `${lab.kubeletDir}/plugins/stratum.csi.dev-heads/team-a%2Fweb`

const put = (wish: Wish): Promise<Answer> => publish(lab.client(), wish)
const take = ({ volumeId, target }: Wish): Promise<Answer> => unpublish(lab.client(), volumeId, target)

function mountedAt(wish: Wish): number {
  return lab.mounts().filter(({ mountpoint }) => mountpoint === wish.target).length
}

async function assertEmpty(when: string): Promise<void> {
  await lab.until(`the end of every mount, ${when}`, () => lab.mounts().length === 0)
  assert.deepEqual(lab.notes(), [], when)
  assert.deepEqual(fs.globSync(`${lab.kubeletDir}/pods/*/volumes/*/*/mount`), [], when)
}

/** Waits until the plugin died of its fault, or everything that was to happen did. Returns whether it lives. */
async function survives(isDone: () => boolean): Promise<boolean> {
  const { gone } = lab.plugin()
  const done = lab.until('the end of the work', isDone).then(() => true)
  return Promise.race([done, gone.then(() => false)])
}

for (const [what, kind] of Object.entries({ tag: TAG, HEAD })) {
  test(`the publish of a ${what} is killed at each step`, async () => {
    const wish = lab.wish(`pv-${what}`, kind)
    let n = 0
    for (let lives = false; !lives; ) {
      await lab.plugin().arm(`kill@${++n}`)
      const { code } = await put(wish)
      const when = `killed at ${n}`
      assert.ok(code === 'OK' || code === 'UNAVAILABLE', `${when}: ${code}`)
      lives = code === 'OK' && (await lab.plugin().arm('kill@0'))
      if (!lives) {
        await lab.plugin().gone
        assert.ok(mountedAt(wish) <= 1, when)
        await lab.start()
      }
      const again = await put(wish)
      assert.equal(again.code, 'OK', `${when}: ${again.message}`)
      assert.equal(mountedAt(wish), 1, when)
      assert.equal(lab.mounts().length, what === 'tag' ? 1 : 2, when)
      assert.equal(lab.notes().length, 1, when)
      assert.equal(fs.readFileSync(`${wish.target}/file`, 'utf8'), what === 'tag' ? 'one' : 'two', when)
      assert.equal((await take(wish)).code, 'OK', when)
      await assertEmpty(when)
      assert.ok(n < STEPS_MAX)
    }
    assert.ok(n > (what === 'tag' ? 8 : 12), `${n} steps`)
  })

  test(`the unpublish of a ${what} is killed at each step`, async () => {
    const wish = lab.wish(`pv-${what}`, kind)
    let n = 0
    for (let lives = false; !lives; ) {
      assert.equal((await put(wish)).code, 'OK')
      if (what === 'HEAD') fs.writeFileSync(`${wish.target}/written`, `before ${n}`)
      await lab.plugin().arm(`kill@${++n}`)
      const when = `killed at ${n}`
      const { code } = await take(wish)
      assert.ok(code === 'OK' || code === 'UNAVAILABLE', `${when}: ${code}`)
      // The last thing that is done is that the folder of the HEAD goes.
      const isDone = await survives(() => lab.notes().length === 0 && !fs.existsSync(folderOfHead))
      lives = isDone && (await lab.plugin().arm('kill@0'))
      if (!lives) await lab.start()
      assert.equal((await take(wish)).code, 'OK', when)
      await assertEmpty(when)
      if (what === 'HEAD') {
        const upper = `${lab.store.store.path}/refs/team-a%2Fweb/head/written`
        assert.equal(fs.readFileSync(upper, 'utf8'), `before ${n - 1}`, when)
      }
      assert.ok(n < STEPS_MAX)
    }
    assert.ok(n > 2, `${n} steps`)
  })

  test(`a publish of a ${what} that fails at any step leaves nothing mounted, and can be repeated`, async () => {
    const wish = lab.wish(`pv-${what}`, kind)
    for (let n = 1, failed = true; failed; n++) {
      await lab.plugin().arm(`EIO@${n}`)
      const { code, message } = await put(wish)
      await lab.plugin().arm('EIO@0')
      const when = `failed at ${n}`
      failed = code !== 'OK'
      if (failed) {
        assert.match(message, /EIO|again|could not|mount/i, when)
        assert.equal(mountedAt(wish), 0, when)
        assert.equal(fs.existsSync(wish.target), false, when)
        assert.deepEqual(lab.notes(), [], when)
      }
      assert.equal((await put(wish)).code, 'OK', when)
      assert.equal(mountedAt(wish), 1, when)
      assert.equal((await take(wish)).code, 'OK', when)
      await assertEmpty(when)
      assert.ok(n < STEPS_MAX)
    }
  })
}
