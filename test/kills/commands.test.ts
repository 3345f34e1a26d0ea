import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { assertRecovers, openScene, runCalmly, runScene } from '../support/kills.ts'
import { releaseBusy, SCENES } from '../support/scenes.ts'

/**
 * Each command that changes something is killed at each of its changing calls (STRATUM_FAULT=kill@n). Then nothing is damaged, and the same
 * command again ends as an undisturbed run does. Every third call; with STRATUM_TEST_SCALE=3 each.
 */
const STRIDE = Math.max(1, Math.round(3 / Number(process.env.STRATUM_TEST_SCALE ?? 1)))
let kills = 0

for (const scene of SCENES)
  test(`${scene.name}, killed at any changing call, is done by the same command again, and nothing is left over`, async t => {
    const { steps, state } = await runCalmly(scene)
    assert.ok(steps >= scene.stepsMin, `${steps} steps`)
    for (let step = 1; step <= steps; step += STRIDE) {
      using lab = await openScene(scene)
      const { signal, status, stderr } = runScene(lab, scene.args(lab), `kill@${step}`)
      // Threads share the work, so that a run may have a call less than the one before.
      if (signal === null) assert.equal(status, 0, stderr)
      else kills++
      if (signal === null && step < steps - 3) assert.fail(`the run ended before call ${step} of ${steps}`)
      await assertRecovers(scene, lab, state, `killed at call ${step} of ${steps}`)
      releaseBusy()
    }
    t.diagnostic(`${steps} calls`)
  })

test('that were many points', () => assert.ok(kills * STRIDE > 600, `${kills} kills`))

after(releaseBusy)
