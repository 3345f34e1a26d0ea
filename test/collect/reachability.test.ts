import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import {
  array,
  assert as check,
  asyncProperty,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  pre,
  property,
  record,
  uniqueArray,
  type Arbitrary,
} from 'fast-check'
import { decideCommits } from '../../src/collect/decide-commits.ts'
import type { Root } from '../../src/collect/root.ts'
import { surveyStore } from '../../src/collect/survey.ts'
import type { CommitId } from '../../src/names/commit-id.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { verifyCommits } from '../../src/repository/verify.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { content, createTestStore, listContents, readFiles, type TestStore } from '../support/store.ts'

const id = integer({ min: 0, max: 9 }).map(n => String(n).repeat(64) as CommitId)
const root = id.map((commit): Root => ({ commit, kind: 'tag', holder: 'app:v1' }))
const openness = constantFrom('closed', 'open', 'unknown')

test('every commit stays or goes; those stay that a root names or whose image may be open', () => {
  check(
    property(
      uniqueArray(id),
      array(root),
      array(openness, { minLength: 10, maxLength: 10 }),
      (commits, roots, open) => {
        const known = roots.filter(({ commit }) => commits.includes(commit))
        const { stay, go, held } = decideCommits(commits, known, commit => open[Number(commit[0])])
        assert.deepEqual([...stay.keys(), ...go].sort(), [...commits].sort())
        for (const commit of commits) {
          const isNamed = known.some(other => other.commit === commit)
          assert.equal(stay.has(commit), isNamed || open[Number(commit[0])] !== 'closed')
          assert.equal(
            held.some(other => other.commit === commit),
            !isNamed && open[Number(commit[0])] !== 'closed',
          )
        }
      },
    ),
  )
})

test('a root whose commit is not there stops everything', () => {
  check(
    property(uniqueArray(id, { maxLength: 9 }), array(root), id, (commits, roots, missing) => {
      pre(!commits.includes(missing))
      const all = [
        ...roots.filter(({ commit }) => commits.includes(commit)),
        { commit: missing, kind: 'pin', holder: 'a pin' } as const,
      ]
      assert.throws(
        () => decideCommits(commits, all, () => 'closed'),
        /a pin names commit .* so nothing may be deleted/,
      )
    }),
  )
})

/** What happens to a store between two collections. */
type Step =
  | { readonly do: 'import'; readonly tag: string; readonly files: readonly number[] }
  | { readonly do: 'remove' | 'mount' | 'unmount'; readonly tag: string }
  | { readonly do: 'collect'; readonly now: boolean }
  /** An import is killed between its objects and its commit. */
  | { readonly do: 'lose'; readonly file: number }

const tag = constantFrom('a:1', 'a:2', 'b:1', 'b:2')
const step: Arbitrary<Step> = oneof(
  {
    weight: 4,
    arbitrary: record({
      do: constant('import' as const),
      tag,
      files: uniqueArray(integer({ min: 0, max: 7 }), { minLength: 1 }),
    }),
  },
  {
    weight: 5,
    arbitrary: record({ do: constantFrom('remove' as const, 'mount' as const, 'unmount' as const), tag }),
  },
  { weight: 3, arbitrary: record({ do: constant('collect' as const), now: boolean() }) },
  { weight: 1, arbitrary: record({ do: constant('lose' as const), file: integer({ min: 0, max: 7 }) }) },
)

test('whatever happens to a store, a collection leaves everything reachable as it was, and nothing else', async () => {
  await check(
    asyncProperty(array(step, { minLength: 5, maxLength: 18 }), async steps => {
      const store = createTestStore()
      const model: Model = { tags: new Map(), mounts: new Map() }
      await store.importFiles('keep:v1', { f: content('keep') })
      for (const each of [...steps, { do: 'collect', now: true } as const]) await take(store, model, each)
      for (const { mountpoint } of model.mounts.values()) await store.unmount(mountpoint)
    }),
    { numRuns: scaled(12), seed: firstSeed() },
  )
})

interface Model {
  readonly tags: Map<string, { readonly id: CommitId; readonly files: Record<string, string> }>
  readonly mounts: Map<
    string,
    { readonly id: CommitId; readonly files: Record<string, string>; readonly mountpoint: string }
  >
}

async function take(store: TestStore, model: Model, each: Step): Promise<void> {
  if (each.do === 'collect') return collectAndCheck(store, model, each.now)
  if (each.do === 'lose') return loseObject(store, each.file)
  const there = model.tags.get(each.tag)
  const mounted = model.mounts.get(each.tag)
  if (each.do === 'import' && there === undefined) {
    const files = Object.fromEntries(each.files.map(n => [`f${n}`, content(`file ${n} `)]))
    model.tags.set(each.tag, { id: await store.importFiles(each.tag, files), files })
  } else if (each.do === 'remove' && there !== undefined) {
    await store.removeTag(each.tag)
    model.tags.delete(each.tag)
  } else if (each.do === 'mount' && there !== undefined && mounted === undefined) {
    model.mounts.set(each.tag, { ...there, mountpoint: await store.mount(each.tag) })
  } else if (each.do === 'unmount' && mounted !== undefined) {
    await store.unmount(mounted.mountpoint)
    model.mounts.delete(each.tag)
  }
}

function loseObject({ store }: TestStore, file: number): void {
  const digest = createHash('sha256').update(`lost ${file}`).digest('hex')
  fs.writeFileSync(`${store.path}/objects/${digest.slice(0, 2)}/${digest.slice(2)}`, 'lost')
}

async function collectAndCheck(store: TestStore, model: Model, now: boolean): Promise<void> {
  const { held } = await collectGarbage(store, { now })
  const { commits } = listContents(store.store.path)
  const reachable = new Set([...model.tags.values(), ...model.mounts.values()].map(({ id }) => id as string))
  for (const commit of reachable) assert.ok(commits.includes(commit), 'a commit that is reachable went')
  for (const commit of commits.filter(other => !reachable.has(other) && !held.some(({ commit }) => commit === other)))
    assert.equal(
      fs.readFileSync(`${store.store.path}/refs/keep/tags/v1`, 'utf8').trim(),
      commit,
      'a commit stays that nothing keeps',
    )
  // However little the collection looked at, who looks at everything finds nothing more.
  fs.renameSync(`${store.store.path}/state/collected`, `${store.scratch}/memo`)
  const { garbage } = await surveyStore(store.store)
  assert.equal(garbage.size, 0, 'an object stays that nothing names')
  fs.renameSync(`${store.scratch}/memo`, `${store.store.path}/state/collected`)
  const { findings } = await verifyCommits(store, { reference: undefined, quick: false })
  assert.deepEqual(findings, [])
  for (const { files, mountpoint } of model.mounts.values()) assert.deepEqual(readFiles(mountpoint), files)
}

test('several collectors at once do what one does', async () => {
  const store = createTestStore()
  await store.importFiles('app:keep', { f: content('keep') })
  for (let i = 0; i < 6; i++) {
    await store.importFiles(`app:v${i}`, { a: content(`a${i}`), b: content(`b${i}`), f: content('keep') })
    await store.removeTag(`app:v${i}`)
  }
  const main = path.resolve(import.meta.dirname, '../../src/main.ts')
  const env = { ...process.env, STRATUM_STORE: store.store.path }
  const collectors = Array.from({ length: 4 }, (_, i) =>
    spawn(process.execPath, [main, 'gc', ...(i % 2 === 0 ? ['--now'] : [])], { stdio: 'ignore', env }),
  )
  const codes = await Promise.all(collectors.map(async collector => (await once(collector, 'exit'))[0]))
  assert.deepEqual(codes, [0, 0, 0, 0])
  const { commits, objects } = listContents(store.store.path)
  assert.deepEqual([commits.length, objects.length], [1, 1])
  assert.equal(store.run(['fsck']).status, 0)
  await collectGarbage(store, { now: true })
  assert.deepEqual(fs.readdirSync(`${store.store.path}/trash`), [])
})
