import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { freezeWriters, planFreeze, thawHead } from '../../src/heads/freeze.ts'
import {
  createGroup,
  dissolveGroup,
  type Freezer,
  freezerOf,
  isFrozen,
  isTopGroup,
  moveProcess,
} from '../../src/host/cgroup.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { writeHead } from '../../src/refs/head-file.ts'
import { type Actor, startActor } from '../support/actor.ts'
import { createLab, LABEL, type Lab } from '../support/lab.ts'

/** Whoever is stopped goes on again, on every path; and nobody else is stopped. */
const LIMIT_MS = 20_000
const made: Freezer[] = []
after(() => {
  for (const group of made.reverse()) if (fs.existsSync(group.path)) dissolveGroup(group)
})

const TOPS: Freezer[] = readMounts().flatMap(({ type, mountpoint, superOptions }): Freezer[] => {
  if (type === 'cgroup2') return [{ version: 2, path: mountpoint }]
  return superOptions.includes('freezer') ? [{ version: 1, path: mountpoint }] : []
})

function newGroup(top: Freezer): Freezer {
  const group = createGroup(top, `stratum-test-${randomBytes(4).toString('hex')}`)
  made.push(group)
  return group
}

async function actorIn(group: Freezer): Promise<Actor> {
  const actor = await startActor()
  moveProcess(actor.pid, group)
  return actor
}

async function createHead(): Promise<Lab> {
  const lab = await createLab({ file: 'file' })
  await lab.mount()
  return lab
}

/** Whether the process answers; one that stands still does not, however long one waits. */
async function answers(actor: Actor): Promise<boolean> {
  const late = new Promise<boolean>(resolve => setTimeout(() => resolve(false), 300))
  return Promise.race([actor.run('True').then(Boolean), late])
}

test('Ctrl-Z does not stop a committer while others stand still because of it', async () => {
  const lab = await createHead()
  const listening = (): number => process.listenerCount('SIGTSTP')
  await using actor = await actorIn(newGroup(TOPS[0]))
  const before = listening()
  const frozen = freezeWriters(lab.store, LABEL, { freezers: [freezerOf(actor.pid) as Freezer] }, LIMIT_MS)
  try {
    assert.equal(listening(), before + 1)
    process.kill(process.pid, 'SIGTSTP') // a process that is stopped here never comes to the next line
    assert.ok(frozen.isHeld())
  } finally {
    frozen.thaw()
  }
  assert.equal(listening(), before)
})

for (const top of TOPS) {
  test(`a group of version ${top.version} that the caller names is stopped and let go on`, async () => {
    const lab = await createHead()
    const group = newGroup(top)
    await using actor = await actorIn(group)
    const frozen = freezeWriters(lab.store, LABEL, { freezers: [group] }, LIMIT_MS)
    assert.ok(frozen.isHeld() && isFrozen(group))
    assert.deepEqual(lab.record().still?.freezers, [`v${top.version}:${group.path}`])
    const pending = answers(actor)
    assert.equal(await pending, false)
    frozen.thaw()
    assert.equal(isFrozen(group), false)
    assert.equal(frozen.isHeld(), false)
    assert.ok(frozen.thaw() >= 0, 'twice does no harm')
  })

  test(`a pause of a group of version ${top.version} that somebody else ends is noticed`, async () => {
    const lab = await createHead()
    const group = newGroup(top)
    await using _actor = await actorIn(group)
    const frozen = freezeWriters(lab.store, LABEL, { freezers: [group] }, LIMIT_MS)
    fs.writeFileSync(
      path.join(group.path, top.version === 1 ? 'freezer.state' : 'cgroup.freeze'),
      top.version === 1 ? 'THAWED' : '0',
    )
    for (let i = 0; i < 1000 && frozen.isHeld(); i++) await new Promise(resolve => setTimeout(resolve, 5))
    assert.equal(frozen.isHeld(), false)
    frozen.thaw()
  })

  test(`a group of version ${top.version} is stopped by one commit at a time`, async () => {
    const [lab, other] = [await createHead(), await createHead()]
    const group = newGroup(top)
    await using _actor = await actorIn(group)
    const frozen = freezeWriters(lab.store, LABEL, { freezers: [group] }, LIMIT_MS)
    assert.throws(() => freezeWriters(other.store, LABEL, { freezers: [group] }, LIMIT_MS), /for another commit/)
    assert.ok(frozen.isHeld(), 'who was refused let nobody go on')
    assert.equal(other.record().still, undefined)
    frozen.thaw()
    freezeWriters(other.store, LABEL, { freezers: [group] }, LIMIT_MS).thaw()
  })
}

test('a group that is gone has nobody in it', async () => {
  const lab = await createHead()
  const [group, gone] = [newGroup(TOPS[0]), newGroup(TOPS[0])]
  dissolveGroup(gone)
  await using actor = await actorIn(group)
  const frozen = freezeWriters(lab.store, LABEL, { freezers: [gone, group] }, LIMIT_MS)
  assert.ok(frozen.isHeld())
  frozen.thaw()
  assert.ok(await actor.run('True'))
  assert.equal(fs.existsSync(gone.path), false, 'it was not made again')
})

test('when one group cannot be stopped, the others go on', async () => {
  const lab = await createHead()
  const group = newGroup(TOPS[0])
  await using actor = await actorIn(group)
  const broken: Freezer = { version: 1, path: import.meta.filename }
  assert.throws(() => freezeWriters(lab.store, LABEL, { freezers: [group, broken] }, LIMIT_MS), { code: 'ENOTDIR' })
  assert.equal(isFrozen(group), false)
  assert.ok(await actor.run('True'))
})

test('a process that shares our group is stopped alone, and comes back to it', async () => {
  const lab = await createHead()
  await using actor = await startActor()
  const group = newGroup(TOPS[0])
  const home = freezerOf(process.pid) as Freezer
  for (const pid of [process.pid, actor.pid]) moveProcess(pid, group)
  try {
    const frozen = freezeWriters(lab.store, LABEL, { find: () => [actor.pid] }, LIMIT_MS)
    const own = freezerOf(actor.pid) as Freezer
    assert.match(own.path, new RegExp(`^${group.path}/stratum-freeze-${process.pid}-`))
    assert.ok(isFrozen(own))
    frozen.thaw()
    assert.equal(freezerOf(actor.pid)?.path, group.path)
    assert.equal(fs.existsSync(own.path), false)
  } finally {
    moveProcess(process.pid, home)
  }
})

test('a process in the top group is stopped alone; one in a group of its own with all of it', async () => {
  await using actor = await startActor()
  const group = newGroup(TOPS[0])
  await using inGroup = await actorIn(group)
  moveProcess(actor.pid, TOPS[0])
  assert.ok(isTopGroup(TOPS[0]))
  const plan = planFreeze([actor.pid, inGroup.pid], 'own')
  assert.deepEqual(plan.freezers.map(({ path: at }) => at).sort(), [group.path, `${TOPS[0].path}/own`].sort())
  assert.deepEqual(
    plan.moves.map(({ pid }) => pid),
    [actor.pid],
  )
  assert.deepEqual(planFreeze([2 ** 30], 'own'), { freezers: [], moves: [], impossible: [] }, 'it ended meanwhile')
})

test('what a committer that died left standing goes on, though one of the groups is broken', async () => {
  const lab = await createHead()
  const group = newGroup(TOPS[0])
  await using actor = await actorIn(group)
  freezeWriters(lab.store, LABEL, { freezers: [group] }, LIMIT_MS) // and never thawed
  const { still } = lab.record()
  writeHead(lab.store, LABEL, {
    ...lab.record(),
    still: { freezers: [`v1:${import.meta.filename}`, ...(still?.freezers ?? [])], readOnlyMount: '' },
  })
  assert.throws(() => thawHead(lab.store, LABEL), { code: 'ENOTDIR' })
  assert.ok(await actor.run('True'), 'everybody else goes on first')
})

test('a pause that is too short ends in an error, and nobody stands still', async () => {
  const lab = await createHead()
  await using actor = await startActor()
  await actor.run(`fd = os.open(${JSON.stringify(path.join(lab.head, 'file'))}, os.O_RDWR)`)
  await assert.rejects(
    lab.commit({ consistency: 'freeze', maxPauseMs: 0.001, deadlineMs: 300 }),
    /changes faster than it can be read|could not? be stopped|could be stopped/,
  )
  assert.ok(await actor.run('True'))
  assert.equal(lab.record().still, undefined)
})

test('a superblock that a committer left read-only becomes writable though its mount was moved', async () => {
  const lab = await createHead()
  const { setSuperblockReadOnly } = await import('../../src/host/mount-api.ts')
  setSuperblockReadOnly(lab.head, true)
  writeHead(lab.store, LABEL, { ...lab.record(), still: { freezers: [], readOnlyMount: '/somewhere/else' } })
  await lab.tag(`app:${lab.record().base}`, 'any')
  fs.writeFileSync(path.join(lab.head, 'new'), 'writable')
  assert.equal(lab.record().still, undefined)
})
