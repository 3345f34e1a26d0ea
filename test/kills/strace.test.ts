import assert from 'node:assert/strict'
import path from 'node:path'
import { after, test } from 'node:test'
import { assertRecovers, openScene, runCalmly, runScene } from '../support/kills.ts'
import { scaled } from '../support/scale.ts'
import { releaseBusy, SCENES } from '../support/scenes.ts'
import { CHANGING, readTrace } from '../support/trace.ts'

/**
 * The hook by which the other kills are made (`host/faults.ts`) against strace, which knows nothing of it: every changing call that the
 * kernel sees on store, HEAD and their surroundings was named to the hook right before, by the same thread; and kills that strace makes end well too.
 */
const NAMES = [
  'init --migrate',
  'import',
  'tag --move',
  'remove of a label',
  'apply, by exchange',
  'unmount, with a fold that was put off',
]
const scenes = SCENES.filter(({ name }) => NAMES.includes(name))

for (const scene of scenes)
  test(`${scene.name}: every changing call that strace sees was named to the hook`, async () => {
    using lab = await openScene(scene)
    const [trace, notes] = ['trace', 'notes'].map(name => path.join(lab.folder, name))
    const strace = ['strace', '-f', '-y', '-s', '300', '-o', trace, '-e', `trace=${CHANGING},write,openat`]
    const { status, stderr } = runScene(lab, scene.args(lab), `note@${notes}`, strace)
    assert.equal(status, scene.status ?? 0, stderr)
    releaseBusy()
    const { calls, unnamed } = readTrace(trace, lab.folder, notes)
    assert.ok(calls.length > 5, `${calls.length} calls`)
    assert.deepEqual(unnamed, [])
  })

/** Calls that mean much for each command; `when` counts in each thread for itself. */
const INJECTED = ['fsync', 'rename', 'renameat2', 'mkdir', 'unlink', 'move_mount', 'umount2']

for (const scene of scenes)
  test(`${scene.name}, killed by strace, is done by the same command again, and nothing is left over`, async t => {
    const { state } = await runCalmly(scene)
    let kills = 0
    for (const call of INJECTED)
      for (let when = 1; when <= scaled(3); when++) {
        using lab = await openScene(scene)
        const inject = `inject=${call}:signal=KILL:when=${when * 2 - 1}`
        const strace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject]
        const { signal, status } = runScene(lab, scene.args(lab), undefined, strace)
        if (signal !== 'SIGKILL' && status !== 137) break // so many of these it has not
        kills++
        await assertRecovers(scene, lab, state, `killed at ${call} ${when * 2 - 1}`)
        releaseBusy()
      }
    t.diagnostic(`${kills} kills`)
    assert.ok(kills > 1, `${kills} kills`)
  })

after(releaseBusy)
