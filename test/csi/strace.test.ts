import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { readMounts } from '../../src/host/mountinfo.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { checkStore } from '../../src/repository/fsck.ts'
import { type Answer, claimOf, createRequest, MOUNT, type Service } from '../support/node-process.ts'
import { scaled } from '../support/scale.ts'
import { listContents } from '../support/store.ts'
import { CHANGING, readTrace } from '../support/trace.ts'
import { createVolumesLab, good, type VolumesLab } from '../support/volumes-lab.ts'

/**
 * The hook by which the plugin is killed elsewhere (`host/faults.ts`) against strace, which knows nothing of it: every changing call that
 * the kernel sees was named to the hook right before, and kills that strace makes at a call end as well.
 */
interface Wish {
  readonly service: Service
  readonly method: string
  readonly request: Record<string, unknown>
}

/** One of each, in an order in which a pod's life makes them; `n` keeps the rounds apart. */
async function* lifeOf(lab: VolumesLab, n: number): AsyncGenerator<Wish, void, Answer> {
  const parameters = { ...claimOf('team-a', `data-${n}`), onDelete: 'Label' }
  const target_path = `${lab.store.scratch}/head-${n}`
  const tag = { volume_id: `pv-${n}`, target_path: `${lab.store.scratch}/tag-${n}` }
  const readers = { mount: {}, access_mode: { mode: 'MULTI_NODE_READER_ONLY' } }
  const made = yield {
    service: 'Controller',
    method: 'CreateVolume',
    request: createRequest(`pvc-${n}`, { parameters }),
  }
  const { volume_id } = good(made).volume
  const publish = { volume_id, target_path, volume_capability: MOUNT }
  yield { service: 'Node', method: 'NodePublishVolume', request: publish }
  fs.writeFileSync(`${target_path}/file`, `written in round ${n}`)
  const wish = { name: `snapshot-${n}`, source_volume_id: volume_id }
  const snapped = yield { service: 'Controller', method: 'CreateSnapshot', request: wish }
  const { snapshot_id } = good(snapped).snapshot
  yield {
    service: 'Node',
    method: 'NodePublishVolume',
    request: { ...tag, volume_capability: readers, volume_context: { label: `team-a/data-${n}`, tag: snapshot_id } },
  }
  assert.equal(fs.readFileSync(`${tag.target_path}/file`, 'utf8'), `written in round ${n}`)
  yield { service: 'Node', method: 'NodeUnpublishVolume', request: tag }
  yield { service: 'Node', method: 'NodeUnpublishVolume', request: { volume_id, target_path } }
  yield { service: 'Controller', method: 'DeleteSnapshot', request: { snapshot_id } }
  yield { service: 'Controller', method: 'DeleteVolume', request: { volume_id } }
}

/** A strace that is attached to the plugin. */
async function attach(lab: VolumesLab, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn('strace', ['-f', '-p', String(lab.plugin().pid), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', piece => (said += piece).includes('attached') && resolve())
    child.once('close', () => reject(new Error(`strace ended: ${said}`)))
  })
  return child
}

/** By force: a strace that killed who it traces may wait for ever for one of its threads, and takes no other signal. */
async function detach(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}

/** A call while a strace is attached. What was killed is dead, its threads included, only when strace has let go of it. */
async function callTraced(
  lab: VolumesLab,
  { service, method, request }: Wish,
  args: readonly string[],
): Promise<Answer> {
  const { pid, call } = lab.plugin()
  const strace = await attach(lab, args)
  let isOver = false
  const answer = call(service, method, request).finally(() => (isOver = true))
  while (!isOver && !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))) await sleep(10)
  await detach(strace)
  return answer
}

async function assertNothing({ store }: VolumesLab, when: string): Promise<void> {
  const { settled } = await checkStore(store, { repair: false, quick: true })
  const damage = settled.filter(({ finding }) => finding.severity === 'damage')
  assert.deepEqual(damage, [], when)
  const ours = (): string[] =>
    readMounts().flatMap(({ source, mountpoint }) => (source.includes(store.store.id) ? [mountpoint] : []))
  for (let tries = 0; ours().length > 0 && tries < 500; tries++) await sleep(20)
  assert.deepEqual(ours(), [], when)
  for (const folder of ['refs', 'state/volumes', 'state/snapshots'])
    assert.deepEqual(fs.readdirSync(`${store.store.path}/${folder}`), [], `${when}: ${folder}`)
}

test('every changing call that strace sees of a pod’s life was named to the hook', async () => {
  await using lab = await createVolumesLab()
  const [trace, notes] = ['trace', 'notes'].map(name => `${lab.store.scratch}/${name}`)
  await lab.plugin().arm(`note@${notes}`)
  const args = ['-y', '-s', '300', '-o', trace, '-e', `trace=${CHANGING},write,openat`]
  const strace = await attach(lab, args)
  const life = lifeOf(lab, 0)
  for (let step = await life.next(); step.done !== true; ) {
    const { service, method, request } = step.value
    const answer = await lab.plugin().call(service, method, request)
    good(answer)
    step = await life.next(answer)
  }
  await lab.plugin().stop() // folds in the background, too
  await once(strace, 'close')
  const { calls, unnamed } = readTrace(trace, os.tmpdir(), notes)
  assert.ok(calls.length > 50, `${calls.length} calls`)
  assert.deepEqual(
    unnamed.filter(line => !line.includes('csi.sock')), // goes with the server: it is no data
    [],
  )
})

/** Calls at which kills mean most. */
const INJECTED = ['fsync', 'rename', 'mkdir', 'unlink', 'rmdir', 'move_mount', 'umount2']
const METHODS = [
  'CreateVolume',
  'NodePublishVolume',
  'CreateSnapshot',
  'NodeUnpublishVolume',
  'DeleteSnapshot',
  'DeleteVolume',
]
/** Every third pair of method and call where there is little time, all of them and more of each else. */
const STRIDE = scaled(1) > 1 ? 1 : 3

/** A life in which the first call of a method is killed, once the kernel sees that call for the n-th time. Returns whether it came to that. */
async function killedLife(lab: VolumesLab, method: string, inject: string, n: number): Promise<boolean> {
  const life = lifeOf(lab, n)
  let wasKilled = false
  let isDue = true
  for (let step = await life.next(); step.done !== true; ) {
    const { service, method: name, request } = step.value
    const isMeant: boolean = isDue && name === method
    const args = ['-o', '/dev/null', '-e', `trace=${inject.split(':')[0]}`, '-e', `inject=${inject}`]
    let answer: Answer = isMeant
      ? await callTraced(lab, step.value, args)
      : await lab.plugin().call(service, name, request)
    if (isMeant) {
      isDue = false
      wasKilled = answer.code === 'UNAVAILABLE'
      if (wasKilled) {
        await lab.restart()
        answer = await lab.plugin().call(service, name, request)
      }
      assert.deepEqual(good(await lab.plugin().call(service, name, request)), good(answer), inject)
    }
    good(answer)
    step = await life.next(answer)
  }
  return wasKilled
}

test('killed by strace at a call of the kernel, a repeat does what was asked, and nothing is left over', async t => {
  await using lab = await createVolumesLab()
  const pairs = METHODS.flatMap(method => INJECTED.map(call => ({ method, call })))
  let kills = 0
  let lives = 0
  for (const { method, call } of pairs.filter((_, i) => i % STRIDE === 0))
    for (let when = 1; when <= scaled(1); when++) {
      const what = `${method} killed at ${call} ${when}`
      const wasKilled = await killedLife(lab, method, `${call}:signal=KILL:when=${when}`, ++lives)
      await assertNothing(lab, what)
      if (!wasKilled) break // so many of these it has not
      kills++
    }
  assert.equal(await lab.plugin().stop(), 0)
  await collectGarbage(lab.store, { now: true, allowEmpty: true })
  assert.deepEqual(listContents(lab.store.store.path), { commits: [], objects: [] })
  assert.deepEqual(fs.readdirSync(`${lab.store.store.path}/staging`), [])
  t.diagnostic(`${kills} kills`)
  assert.ok(kills > 5, `${kills} kills`)
})
