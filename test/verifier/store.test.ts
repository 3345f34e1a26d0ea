import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { Label } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import type { Tag } from '../../src/names/tag.ts'
import { setXattr } from '../../src/host/xattrs.ts'
import { commitHead } from '../../src/repository/commit.ts'
import { mountReference } from '../../src/repository/mount.ts'
import { tagCommit } from '../../src/repository/tag.ts'
import { unmountTarget } from '../../src/repository/unmount.ts'
import { contextOf, importInto, newStore } from '../support/imported.ts'
import { createRandom } from '../support/random.ts'
import { fillDirectory } from '../support/real-tree.ts'
import { checkStore } from '../support/verifier.ts'

/** A store with everything in it: two labels, tags, a HEAD that was written to and committed, and has changes again. */
async function makeStore(): Promise<string> {
  const source = fs.mkdtempSync(path.join(os.tmpdir(), 'source-'))
  fillDirectory(createRandom(3), source, { names: 120, oldest: 0, newest: 2 ** 31 })
  fs.writeFileSync(path.join(source, 'kept'), 'k'.repeat(100))
  fs.linkSync(path.join(source, 'kept'), path.join(source, 'kept-too'))
  const store = newStore()
  const context = contextOf(store)
  await importInto(store, 'other', source)
  const first = await importInto(store, 'team/app', source)
  const reference = parseReference(`team/app:${first.metadata.id}`)
  for (const tag of ['v1', 'latest'] as Tag[])
    await tagCommit(context, { source: reference, tag, move: false, force: false })
  const mountpoint = fs.mkdtempSync(path.join(os.tmpdir(), 'head-'))
  const head = {
    reference: parseReference('team/app'),
    mountpoint,
    readOnly: false,
    allowSuidAndDevices: false,
    uid: 0,
  }
  await mountReference(context, head)
  fs.appendFileSync(path.join(mountpoint, 'kept'), 'and more')
  fs.mkdirSync(path.join(mountpoint, 'new'))
  fs.writeFileSync(path.join(mountpoint, 'new/file'), 'n'.repeat(1000))
  await commitHead(context, {
    label: 'team/app' as Label,
    tag: 'v2' as Tag,
    message: 'ü',
    allowUnclean: false,
    consistency: 'idle',
    maxPauseMs: 1000,
    deadlineMs: 5000,
    freezers: undefined,
  })
  fs.writeFileSync(path.join(mountpoint, 'not-committed'), 'x')
  await unmountTarget(context, mountpoint)
  return store.path
}

const whole = await makeStore()
const LABEL = 'refs/team%2Fapp'

function first(store: string, pattern: string): string {
  return path.join(store, fs.globSync(pattern, { cwd: store }).sort()[0])
}

function edit(file: string, change: (text: string) => string): void {
  const before = fs.readFileSync(file, 'latin1')
  const after = change(before)
  assert.notEqual(after, before, 'the damage changes nothing')
  fs.writeFileSync(file, after, 'latin1')
}

function flip(file: string, at: number): void {
  const bytes = fs.readFileSync(file)
  bytes[at < 0 ? bytes.length + at : at] ^= 1
  fs.chmodSync(file, 0o600)
  fs.writeFileSync(file, bytes)
  fs.chmodSync(file, 0o444)
}

const replaced = (text: string): string =>
  text.replace(/[0-9a-f]{64}/, digits => digits.replaceAll(/./g, digit => (digit === '0' ? '1' : '0')))

const DAMAGES: Readonly<Record<string, { damage: (store: string) => void; found: RegExp }>> = {
  'a bit of an object': { damage: store => flip(first(store, 'objects/*/*'), 0), found: /^objects\/.*digest/ },
  'the end of an object': {
    damage: store => fs.truncateSync(first(store, 'objects/*/*'), 1),
    found: /^objects\/.*digest/,
  },
  'an object that is gone': { damage: store => fs.rmSync(first(store, 'objects/*/*')), found: /object is missing/ },
  'an object that may be written': {
    damage: store => fs.chmodSync(first(store, 'objects/*/*'), 0o644),
    found: /mode is not 0444/,
  },
  'a foreign file among objects': {
    damage: store => fs.writeFileSync(path.join(store, 'objects/ab/stranger'), ''),
    found: /no object's name/,
  },
  'a bit of an image': { damage: store => flip(first(store, 'commits/*/commit.cfs'), 1200), found: /another digest/ },
  'an image that is gone': {
    damage: store => fs.rmSync(first(store, 'commits/*/commit.cfs')),
    found: /^commits\/.*commit.cfs/,
  },
  'a Merkle root': {
    damage: store =>
      edit(first(store, 'commits/*/metadata.toml'), text => text.replace(/merkle_root = "./, 'merkle_root = "x')),
    found: /has the root/,
  },
  'a count of files': {
    damage: store => edit(first(store, 'commits/*/metadata.toml'), text => text.replace(/^count = /m, 'count = 1')),
    found: /counts of files/,
  },
  'a depth': {
    damage: store =>
      edit(first(store, 'commits/*/metadata.toml'), text => text.replace(/tree_depth = /, 'tree_depth = 1')),
    found: /counts of leaves/,
  },
  'metadata that are cut': {
    damage: store => fs.truncateSync(first(store, 'commits/*/metadata.toml'), 40),
    found: /^commits\//,
  },
  'a commit under another name': {
    damage: store => fs.renameSync(first(store, 'commits/*'), path.join(store, 'commits', '0'.repeat(64))),
    found: /the tree has the id/,
  },
  'a tag of nothing': {
    damage: store => edit(path.join(store, LABEL, 'tags/v1'), replaced),
    found: /tags\/v1 names .* not there/,
  },
  'a tag without a newline': {
    damage: store => edit(path.join(store, LABEL, 'tags/v1'), text => text.trim()),
    found: /tags\/v1 holds no commit id/,
  },
  'a tag of that name that no tag can have': {
    damage: store => fs.renameSync(path.join(store, LABEL, 'tags/v1'), path.join(store, LABEL, 'tags/head')),
    found: /tags\/head is no tag/,
  },
  'a folder that is no label': {
    damage: store => fs.mkdirSync(path.join(store, 'refs/Upper')),
    found: /refs\/Upper: no label/,
  },
  'a HEAD on another base': {
    damage: store =>
      edit(path.join(store, LABEL, 'head.toml'), text => text.replace(/generation = /, 'generation = 1')),
    found: /head\/ has the mark/,
  },
  'a workdir of another generation': {
    damage: store => setXattr(path.join(store, LABEL, 'work'), 'trusted.overlay.stratum', `${'0'.repeat(64)} 1`),
    found: /work\/ has the mark/,
  },
  'a line of the log': {
    damage: store => edit(path.join(store, LABEL, 'log'), text => text.replace('"time"', '"tim')),
    found: /^refs\/team%2Fapp: JSONDecodeError/,
  },
  'a move that was not done': {
    damage: store => {
      const [from, to] = ['v1', 'v2'].map(tag => fs.readFileSync(path.join(store, LABEL, 'tags', tag), 'latin1').trim())
      const entry = {
        time: '2026-01-01T00:00:00.000Z',
        actor: 't',
        operation: 'tag',
        refs: { 'tags/v1': { from, to } },
      }
      fs.appendFileSync(path.join(store, LABEL, 'log'), `${JSON.stringify(entry)}\n`)
    },
    found: /last move of tags\/v1 is not done/,
  },
  'a store of a later version': {
    damage: store => edit(path.join(store, 'stratum.toml'), text => text.replace('format = 1', 'format = 2')),
    found: /format 2/,
  },
  'a feature that nobody knows': {
    damage: store =>
      edit(path.join(store, 'stratum.toml'), text => text.replace(/^incompatible = \[/m, 'incompatible = ["x"')),
    found: /unknown features/,
  },
}

test('a store that Stratum made is as the page says', () => {
  const { ok, problems, commits, objects, labels, refs } = checkStore(whole)
  assert.deepEqual({ ok, problems }, { ok: true, problems: [] })
  assert.ok(objects > 10)
  assert.deepEqual({ commits, labels, refs }, { commits: 2, labels: 2, refs: 5 })
})

test('a store has the same modes whatever the umask of the caller', () => {
  const store = fs.mkdtempSync(path.join(os.tmpdir(), 'umask-'))
  const program = path.resolve(import.meta.dirname, '../../bin/stratum')
  const source = path.dirname(program)
  execFileSync('sh', ['-c', `umask 077; "${program}" import "${source}" --label app`], {
    env: { ...process.env, STRATUM_STORE: store },
    stdio: 'pipe',
  })
  assert.deepEqual(checkStore(store).problems, [])
})

for (const [what, { damage, found }] of Object.entries(DAMAGES)) {
  test(`the verifier finds ${what}`, () => {
    const store = fs.mkdtempSync(path.join(os.tmpdir(), 'damaged-'))
    execFileSync('cp', ['-a', `${whole}/.`, store])
    damage(store)
    const { ok, problems } = checkStore(store)
    assert.equal(ok, false)
    assert.ok(
      problems.some(problem => found.test(problem)),
      problems.join('\n'),
    )
    fs.rmSync(store, { recursive: true })
  })
}

test('what was cut off while the log was written is no damage', () => {
  const store = fs.mkdtempSync(path.join(os.tmpdir(), 'cut-'))
  execFileSync('cp', ['-a', `${whole}/.`, store])
  fs.appendFileSync(path.join(store, LABEL, 'log'), '{"time":"20')
  assert.deepEqual(checkStore(store).problems, [])
})
