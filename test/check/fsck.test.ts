import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { test } from 'node:test'
import { collectGarbage } from '../../src/repository/collect.ts'
import { createStaging } from '../../src/store/staging.ts'
import { lockLabel } from '../../src/store/locks.ts'
import type { Label } from '../../src/names/label.ts'
import { content, createTestStore, listContents, fingerprints, type TestStore } from '../support/store.ts'

/** A store with two commits of a label, and a HEAD with something written to it, not mounted. */
interface Patient {
  readonly store: TestStore
  readonly root: string
  /** `refs/app`. */
  readonly label: string
  readonly v1: string
  readonly v2: string
  /** The object that v1 alone has. */
  readonly object: string
}

const ONLY_V1 = content('only v1', 30_000)

async function patient(): Promise<Patient> {
  fs.rmSync(`${process.env.STRATUM_RUN}/state`, { force: true })
  const store = createTestStore()
  const root = store.store.path
  const v1 = await store.importFiles('app:v1', { own: ONLY_V1, both: content('both') })
  const v2 = await store.importFiles('app:v2', { both: content('both') })
  const mountpoint = await store.mount('app')
  fs.writeFileSync(`${mountpoint}/written`, 'uncommitted')
  await store.unmount(mountpoint)
  const object = listContents(root)
    .objects.map(digest => `${root}/objects/${digest.slice(0, 2)}/${digest.slice(2)}`)
    .find(path => fs.statSync(path).size > 20_000) as string
  return { store, root, label: `${root}/refs/app`, v1, v2, object }
}

interface Case {
  readonly plant: (patient: Patient) => void | Promise<void>
  /** Kinds of findings, sorted. */
  readonly finds: readonly string[]
  /** Exit status of fsck, of fsck --repair, and of fsck after that. */
  readonly status: readonly [number, number, number]
  /** What has to be as before after the repair, or what else. */
  readonly after?: (patient: Patient) => void | Promise<void>
}

const writable = (path: string): void => fs.chmodSync(path, 0o644)
const headFile = ({ label }: Patient): string => fs.readFileSync(`${label}/head.toml`, 'utf8')
const mark = (path: string, text: string): void =>
  void execFileSync('setfattr', ['-n', 'trusted.overlay.stratum', '-v', text, path])
const quarantined = ({ root }: Patient): string[] =>
  fs.globSync('quarantine/*/**', { cwd: root }).map(path => path.split('/').slice(2).join('/'))

/** HEAD is as it was: mounted, it shows what was written. */
async function headIsThere({ store }: Patient): Promise<void> {
  const mountpoint = await store.mount('app')
  assert.equal(fs.readFileSync(`${mountpoint}/written`, 'utf8'), 'uncommitted')
  assert.equal(fs.readFileSync(`${mountpoint}/both`, 'utf8'), content('both'))
  await store.unmount(mountpoint)
}

function tagIs({ label, v1 }: Patient): void {
  assert.equal(fs.readFileSync(`${label}/tags/v1`, 'utf8').trim(), v1)
}

const CASES: Readonly<Record<string, Case>> = {
  nothing: { plant: () => undefined, finds: [], status: [0, 0, 0], after: headIsThere },
  'a damaged object': {
    plant: ({ object }) => (
      writable(object), fs.writeFileSync(object, ONLY_V1.replace('v1', 'v!')), fs.chmodSync(object, 0o444)
    ),
    finds: ['object-damaged'],
    status: [9, 9, 9],
    after: async ({ store, root, object, v1 }) => {
      assert.equal(fs.existsSync(object), false)
      // What is imported once more heals it.
      await store.importFiles('other:v1', { own: ONLY_V1 })
      assert.equal(store.run(['verify', 'app:v1']).status, 0)
      assert.ok(fs.existsSync(`${root}/commits/${v1}`))
    },
  },
  'a missing object': { plant: ({ object }) => fs.rmSync(object), finds: ['object-missing'], status: [9, 9, 9] },
  'an object that may be written to': {
    plant: ({ object }) => writable(object),
    finds: ['permissions'],
    status: [9, 0, 0],
    after: ({ object }) => assert.equal(fs.statSync(object).mode & 0o777, 0o444),
  },
  'an image that may be written to': {
    plant: ({ root, v1 }) => writable(`${root}/commits/${v1}/commit.cfs`),
    finds: ['permissions'],
    status: [9, 0, 0],
  },
  'a foreign file among the objects': {
    plant: ({ root }) => fs.writeFileSync(`${root}/objects/ab/stray`, 'x'),
    finds: ['foreign'],
    status: [0, 0, 0],
    after: each => assert.ok(quarantined(each).includes('objects/ab/stray')),
  },
  'a foreign folder of objects': {
    plant: ({ root }) => fs.mkdirSync(`${root}/objects/zz`),
    finds: ['foreign'],
    status: [0, 0, 0],
  },
  'a folder of objects that is gone': {
    plant: ({ root }) => fs.rmdirSync(emptyFolder(root)),
    finds: ['folder-missing'],
    status: [9, 0, 0],
  },
  'a foreign folder among the commits': {
    plant: ({ root }) => fs.mkdirSync(`${root}/commits/backup`),
    finds: ['foreign'],
    status: [0, 0, 0],
  },
  'a foreign file in a commit': {
    plant: ({ root, v1 }) => fs.writeFileSync(`${root}/commits/${v1}/notes`, 'x'),
    finds: ['foreign'],
    status: [0, 0, 0],
  },
  'a foreign file of the store': {
    plant: ({ root }) => fs.writeFileSync(`${root}/README`, 'x'),
    finds: ['foreign'],
    status: [0, 0, 0],
    after: ({ root }) => assert.ok(fs.existsSync(`${root}/README`)),
  },
  'a file among the labels': {
    plant: ({ root }) => fs.writeFileSync(`${root}/refs/stray`, 'x'),
    finds: ['foreign'],
    status: [0, 0, 0],
  },
  'a store that others may enter': {
    plant: ({ root }) => fs.chmodSync(root, 0o755),
    finds: ['permissions'],
    status: [0, 0, 0],
    after: ({ root }) => assert.equal(fs.statSync(root).mode & 0o777, 0o700),
  },
  'metadata.toml that is gone': {
    plant: ({ root, v1 }) => fs.rmSync(`${root}/commits/${v1}/metadata.toml`),
    finds: ['metadata-damaged', 'tag-dangling'],
    status: [9, 0, 0],
    after: tagIs,
  },
  'metadata.toml with a wrong root': {
    plant: ({ root, v1 }) =>
      replaceIn(`${root}/commits/${v1}/metadata.toml`, /merkle_root = ".{4}/, 'merkle_root = "0000'),
    finds: ['metadata-damaged'],
    status: [9, 0, 0],
  },
  'a damaged image': {
    plant: ({ root, v1 }) => fs.truncateSync(`${root}/commits/${v1}/commit.cfs`, 4096),
    finds: ['commit-damaged'],
    status: [9, 9, 0],
    after: async each => {
      const { store, label, root } = each
      assert.equal(fs.existsSync(`${label}/tags/v1`), false) // it would lead nowhere; the log and the quarantine have it
      assert.match(fs.readFileSync(`${label}/log`, 'utf8'), /"operation":"fsck","refs":{"tags\/v1"/)
      assert.ok(quarantined(each).some(path => path.endsWith('commit.cfs')))
      await collectGarbage(store, { now: true })
      assert.equal(listContents(root).objects.length, 1) // what was cut off names nothing any more
    },
  },
  'an image of which a part is damaged': {
    plant: ({ root, v1 }) => {
      const image = `${root}/commits/${v1}/commit.cfs`
      const bytes = fs.readFileSync(image)
      bytes[bytes.indexOf('own')] ^= 1
      writable(image)
      fs.writeFileSync(image, bytes)
    },
    finds: ['commit-damaged'],
    status: [9, 9, 0],
    after: async ({ store, object }) => {
      await collectGarbage(store, { now: true })
      assert.ok(fs.existsSync(object), 'what an image in quarantine names is kept: it may still be mended')
    },
  },
  'a damaged tag': {
    plant: ({ label }) => fs.writeFileSync(`${label}/tags/v1`, 'garbage'),
    finds: ['tag-damaged'],
    status: [9, 0, 0],
    after: tagIs,
  },
  'an empty tag': {
    plant: ({ label }) => fs.writeFileSync(`${label}/tags/v1`, ''),
    finds: ['tag-damaged'],
    status: [9, 0, 0],
    after: tagIs,
  },
  'a damaged tag that no log names': {
    plant: ({ label }) => fs.writeFileSync(`${label}/tags/x`, 'garbage'),
    finds: ['tag-damaged'],
    status: [9, 9, 0],
  },
  'a tag of a commit that is not there': {
    plant: ({ label }) => fs.writeFileSync(`${label}/tags/x`, 'a'.repeat(64)),
    finds: ['tag-dangling'],
    status: [9, 9, 0],
    after: each => assert.ok(quarantined(each).includes('refs/app/tags/x')),
  },
  'a file among the tags that names a commit': {
    plant: ({ label }) => fs.copyFileSync(`${label}/tags/v1`, `${label}/tags/v1~`),
    finds: ['foreign'],
    status: [0, 0, 0],
    after: ({ label }) => assert.ok(fs.existsSync(`${label}/tags/v1~`)),
  },
  'a file among the tags that names none': {
    plant: ({ label }) => fs.writeFileSync(`${label}/tags/v1~`, 'what'),
    finds: ['foreign'],
    status: [9, 9, 0],
  },
  'a damaged line in a log': {
    plant: ({ label }) => replaceIn(`${label}/log`, /^./, '!'),
    finds: ['log-damaged'],
    status: [9, 0, 0],
    after: each => {
      assert.equal(each.store.run(['gc', '--dry-run']).status, 0)
      assert.ok(quarantined(each).includes('refs/app/log'))
    },
  },
  'a damaged last line in a log': {
    plant: ({ label }) => fs.appendFileSync(`${label}/log`, '{}\n'),
    finds: ['log-damaged'],
    status: [9, 0, 0],
  },
  'an entry of a log that was cut': {
    plant: ({ label }) => fs.appendFileSync(`${label}/log`, '{"time":"20'),
    finds: [],
    status: [0, 0, 0],
  },
  'a move that was cut off': {
    plant: ({ label }) => fs.rmSync(`${label}/tags/v2`),
    finds: ['unfinished'],
    status: [0, 0, 0],
    after: ({ label, v2 }) => assert.equal(fs.readFileSync(`${label}/tags/v2`, 'utf8').trim(), v2),
  },
  'head.toml that is gone': {
    plant: ({ label }) => fs.rmSync(`${label}/head.toml`),
    finds: ['head-damaged'],
    status: [9, 0, 0],
    after: headIsThere,
  },
  'head.toml that is cut': {
    plant: ({ label }) => fs.truncateSync(`${label}/head.toml`, 30),
    finds: ['head-damaged'],
    status: [9, 0, 0],
    after: headIsThere,
  },
  'head.toml of another generation': {
    plant: ({ label }) => replaceIn(`${label}/head.toml`, 'generation = 1', 'generation = 7'),
    finds: ['head-damaged'],
    status: [9, 0, 0],
    after: headIsThere,
  },
  'a pair that does not belong together': {
    plant: ({ label, v1 }) => mark(`${label}/work`, `${v1} 5`),
    finds: ['head-damaged'],
    status: [9, 9, 9],
  },
  'an upperdir that is gone': {
    plant: ({ label }) => fs.rmSync(`${label}/head`, { recursive: true }),
    finds: ['head-damaged'],
    status: [9, 9, 9],
  },
  'a last commit that is not there': {
    plant: each =>
      fs.writeFileSync(
        `${each.label}/head.toml`,
        headFile(each).replace(/last_commit = "\w+"/, `last_commit = "${'a'.repeat(64)}"`),
      ),
    finds: ['head-dangling'],
    status: [9, 0, 0],
    after: headIsThere,
  },
  'a fold that was given up': {
    plant: ({ label }) => fs.mkdirSync(`${label}/next-head`),
    finds: ['unfinished'],
    status: [0, 0, 0],
    after: headIsThere,
  },
  'a fold that was cut off before anything was exchanged': {
    plant: each => fold(each, 0),
    finds: ['unfinished'],
    status: [0, 0, 0],
    after: folded,
  },
  'a fold that was cut off in the middle': {
    plant: each => fold(each, 1),
    finds: ['unfinished'],
    status: [0, 0, 0],
    after: folded,
  },
  'a fold that was cut off at its end': {
    plant: each => fold(each, 2),
    finds: ['unfinished'],
    status: [0, 0, 0],
    after: folded,
  },
  'a fold in the middle of which head.toml was lost': {
    plant: each => (fold(each, 1), fs.rmSync(`${each.label}/head.toml`)),
    finds: ['head-damaged'],
    status: [9, 0, 0],
    after: folded,
  },
  'writers that may stand still': {
    plant: ({ label }) => fs.appendFileSync(`${label}/head.toml`, '\n[frozen]\nfreezers = []\nread_only_mount = ""\n'),
    finds: ['unfinished'],
    status: [0, 0, 0],
    after: headIsThere,
  },
  'a file that was being written': {
    plant: ({ label }) => fs.writeFileSync(`${label}/.new-1-0-head.toml`, 'ha'),
    finds: ['leftover'],
    status: [0, 0, 0],
  },
  'something foreign in a label': {
    plant: ({ label }) => fs.writeFileSync(`${label}/todo`, 'x'),
    finds: ['foreign'],
    status: [0, 0, 0],
  },
  'a folder that is no label': {
    plant: ({ root, label }) => fs.cpSync(`${label}/tags`, `${root}/refs/UPPER/tags`, { recursive: true }),
    finds: ['foreign'],
    status: [0, 0, 0],
  },
  'staging of a dead command': {
    plant({ root }) {
      fs.mkdirSync(`${root}/staging/dead`)
      fs.writeFileSync(`${root}/staging/dead/owner`, '')
    },
    finds: ['leftover'],
    status: [0, 0, 0],
    after: ({ root }) => assert.deepEqual(fs.readdirSync(`${root}/staging`), []),
  },
  'records of mounts that are no more': {
    plant: ({ store }) =>
      fs.appendFileSync(
        `${process.env.STRATUM_RUN}/state`,
        `${JSON.stringify({ key: 'k', source: `stratum:x?store=${store.store.id}`, mountpoint: '/nowhere', time: 't', pid: 1 })}\n`,
      ),
    finds: ['leftover'],
    status: [0, 0, 0],
  },
  'damaged records of mounts': {
    plant: () => fs.appendFileSync(`${process.env.STRATUM_RUN}/state`, '{"key\n'),
    finds: ['log-damaged'],
    status: [9, 0, 0],
  },
  'refs that are gone': {
    plant: ({ root }) => fs.renameSync(`${root}/refs`, `${root}-refs`),
    finds: ['folder-missing'],
    status: [9, 9, 9],
  },
  'a trash that is gone': {
    plant: ({ root }) => fs.rmdirSync(`${root}/trash`),
    finds: ['folder-missing'],
    status: [9, 0, 0],
  },
}

for (const [what, { plant, finds, status, after }] of Object.entries(CASES)) {
  test(`fsck finds and repairs: ${what}`, async () => {
    const each = await patient()
    const { store } = each
    await plant(each)
    const before = fingerprints(each.root)
    const first = store.run(['fsck', '--json'])
    assert.equal(first.status, status[0], first.stdout + first.stderr)
    assert.deepEqual(first.json.findings.map(({ kind }: { kind: string }) => kind).sort(), finds)
    assert.deepEqual(fingerprints(each.root), before, 'fsck alone changes nothing')
    const repaired = store.run(['fsck', '--repair'])
    assert.equal(repaired.status, status[1], repaired.stdout + repaired.stderr)
    const second = store.run(['fsck', '--quick'])
    assert.equal(second.status, status[2], second.stdout + second.stderr)
    if (status[2] === 0 && !['foreign'].includes(finds[0])) assert.equal(second.stdout, '')
    await after?.(each)
    nothingWasDeleted(each, before)
  })
}

/** Every file that had content is somewhere still. */
function nothingWasDeleted({ root, store }: Patient, before: Record<string, string>): void {
  const now = new Set([...Object.values(fingerprints(root)), ...Object.values(fingerprints(store.scratch))])
  for (const [name, bytes] of Object.entries(before))
    if (!/\.new-|staging|head\.toml|\/lock$|\/log$|metadata\.toml|trash/.test(name))
      assert.ok(now.has(bytes), `${name} is nowhere any more`)
}

test('an object and a commit come back from the trash', async () => {
  const each = await patient()
  const { store, root, v1, object } = each
  const id = fs.readFileSync(`${each.label}/tags/v1`, 'utf8')
  await store.removeTag('app:v1')
  await store.importFiles('app:v3', { f: content('later') })
  assert.equal((await collectGarbage(store)).commits, 1)
  for (const tag of ['v1', 'v1b']) fs.writeFileSync(`${each.label}/tags/${tag}`, id) // somebody put tags back by hand
  assert.equal(store.run(['gc']).status, 9)
  const { status, stdout } = store.run(['fsck', '--repair'])
  assert.equal(status, 0, stdout)
  assert.match(stdout, /commit .* is not in the store — repaired/)
  assert.ok(fs.existsSync(object) && fs.existsSync(`${root}/commits/${v1}/commit.cfs`))
  assert.equal(store.run(['fsck']).status, 0)
  assert.equal(store.run(['verify', 'app:v1']).status, 0)
})

test('a damaged object is replaced by an intact one from the trash, and kept in quarantine', async () => {
  const each = await patient()
  const { root, object, store } = each
  const digest = object.slice(-65).replace('/', '')
  fs.mkdirSync(`${root}/trash/${Date.now()}-sweep-00000000/objects`, { recursive: true })
  fs.copyFileSync(object, `${fs.globSync(`${root}/trash/*-sweep-*`)[0]}/objects/${digest}`)
  fs.truncateSync(object, 5)
  assert.equal(store.run(['fsck', '--repair']).status, 0)
  assert.equal(store.run(['verify']).status, 0)
  assert.ok(quarantined(each).some(path => path.startsWith('objects/')))
})

test('what is under way is not taken for a leftover', async () => {
  const { store, root } = await patient()
  using _staging = createStaging(store.store)
  using _label = await lockLabel(store.store, 'app' as Label)
  const { status, json } = store.run(['fsck', '--json', '--lock-timeout', '0.2'])
  assert.equal(status, 3)
  assert.deepEqual(
    json.findings.map(({ kind }: { kind: string }) => kind),
    ['not-checked'],
  )
  assert.ok(fs.readdirSync(`${root}/staging`).length === 1)
})

test('a HEAD that is mounted is repaired without being disturbed', async () => {
  const each = await patient()
  const { store, label } = each
  const mountpoint = await store.mount('app')
  fs.rmSync(`${label}/head.toml`)
  assert.equal(store.run(['fsck', '--repair']).status, 0)
  fs.writeFileSync(`${mountpoint}/more`, 'after')
  assert.equal(store.run(['commit', 'app:v9', '--allow-unclean']).status, 0)
  assert.equal(fs.readFileSync(`${mountpoint}/more`, 'utf8'), 'after')
  assert.equal(store.run(['fsck']).status, 0)
  await store.unmount('app')
})

/** A fold from the base to v1 as it is when a process dies after so many exchanges. */
function fold(each: Patient, exchanges: number): void {
  const { label, v1 } = each
  const head = headFile(each)
  const base = /base_commit = "(\w+)"/.exec(head)?.[1] as string
  for (const name of ['head', 'work']) {
    fs.mkdirSync(`${label}/next-${name}`)
    mark(`${label}/next-${name}`, `${v1} 2`)
  }
  const exchange = (name: string): void => {
    fs.renameSync(`${label}/${name}`, `${label}/tmp`)
    fs.renameSync(`${label}/next-${name}`, `${label}/${name}`)
    fs.renameSync(`${label}/tmp`, `${label}/next-${name}`)
  }
  for (const name of ['head', 'work'].slice(0, exchanges)) exchange(name)
  assert.notEqual(base, v1)
  const folding = head.replace('state = "clean"', 'state = "folding"')
  fs.writeFileSync(`${label}/head.toml`, `${folding}\n[folding]\nto = "${v1}"\nto_generation = 2\n`)
}

async function folded(each: Patient): Promise<void> {
  const { store, v1 } = each
  assert.match(headFile(each), new RegExp(`base_commit = "${v1}"`))
  const mountpoint = await store.mount('app')
  assert.equal(fs.readFileSync(`${mountpoint}/own`, 'utf8'), ONLY_V1)
  await store.unmount(mountpoint)
}

function replaceIn(path: string, pattern: RegExp | string, text: string): void {
  const before = fs.readFileSync(path, 'utf8')
  assert.notEqual(before.replace(pattern, text), before)
  fs.writeFileSync(path, before.replace(pattern, text))
}

function emptyFolder(root: string): string {
  return fs.globSync(`${root}/objects/*`).find(folder => fs.readdirSync(folder).length === 0) as string
}
