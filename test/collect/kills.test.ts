import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { test } from 'node:test'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { armFaults, stepsTaken } from '../../src/host/faults.ts'
import { setXattr } from '../../src/host/xattrs.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { verifyCommits } from '../../src/repository/verify.ts'
import { openStore } from '../../src/store/open-store.ts'
import { content, createTestStore, listContents, runStratum, type TestStore } from '../support/store.ts'

/** A store with everything that a collection can have to do. */
async function template(): Promise<TestStore> {
  const store = createTestStore()
  const root = store.store.path
  await store.importFiles('app:v1', { a: content('a'), b: content('b') })
  await store.importFiles('app:v2', { b: content('b'), c: content('c') })
  const id = await store.importFiles('app:v3', { c: content('c') })
  for (const tag of ['v1', 'v2']) await store.removeTag(`app:${tag}`)
  fs.mkdirSync(`${root}/staging/dead`)
  fs.writeFileSync(`${root}/refs/app/tags/.new-1-0-v9`, 'half')
  fs.mkdirSync(`${root}/refs/never`)
  fs.writeFileSync(`${root}/refs/never/lock`, '')
  fs.mkdirSync(`${root}/trash/1-sweep-00000000/objects`, { recursive: true })
  fs.writeFileSync(`${root}/trash/1-sweep-00000000/objects/${'1'.repeat(64)}`, 'long gone')
  for (const name of ['head', 'work']) {
    fs.mkdirSync(`${root}/trash/2-fold-00000000/${name}`, { recursive: true })
    setXattr(`${root}/trash/2-fold-00000000/${name}`, 'trusted.overlay.stratum', `${id} 1`)
  }
  return store
}

function copyOf(store: TestStore, name: string): string {
  const copy = `${store.scratch}/${name}`
  fs.rmSync(copy, { recursive: true, force: true })
  execFileSync('cp', ['-a', store.store.path, copy])
  return copy
}

/** What a store holds, wherever it was put: names only, for times and random parts differ. */
function stateOf(root: string): unknown {
  const trash = fs
    .globSync('trash/*/{commits,objects}/*', { cwd: root })
    .map(name => name.split('/').slice(2).join('/'))
  const others = ['staging', 'refs', 'refs/app/tags'].map(folder => fs.readdirSync(`${root}/${folder}`).sort())
  return { ...listContents(root), trash: trash.sort(), others }
}

async function isIntact(root: string): Promise<void> {
  const { findings } = await verifyCommits(contextOf(root), { reference: undefined, quick: false })
  assert.deepEqual(findings, [])
}

function contextOf(root: string): Parameters<typeof collectGarbage>[0] {
  return { store: openStore(root), actor: 'tester' }
}

for (const mode of [[], ['--now']]) {
  test(`killed at any changing call, the next collection does the same (gc ${mode.join(' ')})`, async () => {
    const store = await template()
    const calm = copyOf(store, 'calm')
    assert.equal(runStratum(calm, ['gc', ...mode]).status, 0)
    const expected = stateOf(calm)
    let kills = 0
    for (let at = 1; ; at++) {
      const root = copyOf(store, 'killed')
      const { signal } = runStratum(root, ['gc', ...mode], { STRATUM_FAULT: `kill@${at}` })
      if (signal === null) break
      assert.equal(signal, 'SIGKILL')
      kills++
      await isIntact(root)
      await collectGarbage(contextOf(root), { now: mode.length > 0 })
      assert.deepEqual(stateOf(root), expected, `killed at call ${at}`)
      await isIntact(root)
    }
    assert.ok(kills > 15, `only ${kills} calls`)
  })
}

test('a disk that is full at any call loses nothing that is kept', async () => {
  const store = await template()
  const calm = copyOf(store, 'calm')
  armFaults('ENOSPC@0') // counts only
  await collectGarbage(contextOf(calm))
  const calls = stepsTaken()
  assert.ok(calls > 15)
  const { commits, objects } = listContents(calm)
  for (let at = 1; at <= calls; at++) {
    const root = copyOf(store, 'full')
    armFaults(`ENOSPC@${at}`)
    await collectGarbage(contextOf(root)).catch(error =>
      assert.ok(isStratumError(error, 'no-space'), `call ${at}: ${error}`),
    )
    await isIntact(root)
    await collectGarbage(contextOf(root))
    assert.deepEqual(listContents(root), { commits, objects }, `full at call ${at}`)
  }
})
