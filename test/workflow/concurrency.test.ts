import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { readMounts } from '../../src/host/mountinfo.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { content, listContents, readFiles } from '../support/store.ts'
import { createUser, shell, type User } from '../support/user.ts'

/**
 * Eight at one store, who import, commit, tag, move tags, remove, mount, unmount and collect, each through the command line and none of
 * them killed (test/heads/chaos does that). STRATUM_TEST_SCALE=10 is ten minutes.
 */
const USERS = 8
const SECONDS = scaled(60)
const BINARY = path.resolve(import.meta.dirname, '../../bin/stratum')
const LABELS = ['app', 'team/web']

/** What a rival can be the cause of, by its words. */
const EXPECTED: Readonly<Record<number, RegExp>> = {
  1: /^error: \S+:latest is [0-9a-f]{12}, but HEAD is at|^error: tags\/\S+ of \S+ is at |^error: \S+: \S+ is at /,
  2: /--move renames a tag/, // the tag named by a hash has gone, and the hash names the commit still
  4: /does not exist|there is no label|is no tag|is not mounted|nothing of this store is mounted|has no HEAD|no commit that/,
  5: / exists: it is [0-9a-f]{12}/,
  6: / is mounted at | is a mountpoint already | is in use at |its upperdir belongs to a mount|is still mounted somewhere|cannot be set back: it was written to/,
  7: / is locked(;| by )/,
}

interface Tally {
  readonly exits: Map<string, number>
  readonly unexpected: string[]
}

function start(user: User, args: readonly string[]): Promise<{ status: number | null; stderr: string }> {
  const child = spawn(BINARY, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, STRATUM_STORE: user.store },
  })
  let stderr = ''
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  return new Promise(resolve => child.once('close', status => resolve({ status, stderr })))
}

function tagsOf(user: User, label: string): string[] {
  try {
    return fs.readdirSync(`${user.store}/refs/${label.replace('/', '%2F')}/tags`).filter(name => !name.startsWith('.'))
  } catch {
    return [] // the label is being removed
  }
}

/** A random command of number n's; what it writes it names by its content. */
function choose(user: User, random: Random, n: number): string[] {
  const label = random.pick(LABELS)
  const tags = tagsOf(user, label)
  const tag = `${label}:${tags.length === 0 ? 'v0' : random.pick(tags)}`
  const head = user.at(`head-${LABELS.indexOf(label)}`)
  const view = user.at(`view-${n}`)
  const fresh = `t${random.below(12)}`
  return random.pick([
    ['import', user.at(`source-${random.below(6)}`), '--label', label],
    ['import', user.at(`source-${random.below(6)}`), '--label', label, '--tag', fresh],
    ['import', '--bare', user.at(`source-${random.below(6)}`), label],
    ['commit', label],
    ['commit', `${label}:${fresh}`],
    ['commit', label, '--freeze'],
    ['tag', tag, fresh],
    ['tag', tag, fresh, '--force'],
    ['tag', tag, fresh, '--move'],
    ['remove', tag],
    ['remove', label, '--yes'],
    ['mount', label, head],
    ['mount', tag, view, '--read-only'],
    ['unmount', view],
    ['unmount', label],
    ['apply', tag, head],
    ['gc'],
    ['gc', '--now'],
    ['status', label],
    ['fsck', '--quick'],
  ])
}

function isExpected(args: readonly string[], status: number | null, stderr: string): boolean {
  if (status === 0) return true
  if (args[0] === 'gc' && status === 3) return true // it could not be told whether an image is open
  if (args[0] === 'apply' && status === 3) return /stays as it is: somebody wrote to it meanwhile/.test(stderr)
  if (args[0] === 'commit' && status === 3) return /did not hold still/.test(stderr)
  if (args[0] === 'fsck' && (status === 3 || status === 9)) return status === 3
  return status !== null && (EXPECTED[status]?.test(stderr) ?? false)
}

async function work(user: User, n: number, isOver: () => boolean, tally: Tally): Promise<void> {
  const random = createRandom(firstSeed() * 1000 + n)
  while (!isOver()) {
    const args = choose(user, random, n)
    const { status, stderr } = await start(user, args)
    const key = `${args[0]} ${status}`
    tally.exits.set(key, (tally.exits.get(key) ?? 0) + 1)
    if (!isExpected(args, status, stderr)) tally.unexpected.push(`${args.join(' ')}: exit ${status}: ${stderr}`)
    try {
      const name = `f${random.below(20)}`
      fs.writeFileSync(user.at(`head-${random.below(2)}/${name}`), content(`${name} `))
    } catch (error) {
      assert.ok(['ENOENT', 'EPERM', 'EROFS'].includes((error as { code?: string }).code ?? ''), String(error)) // not mounted just now
    }
  }
}

test('eight at one store for a while: it is clean, every tag mounts, and no error was one that nobody expects', async t => {
  const user = createUser()
  for (let i = 0; i < 6; i++) {
    const name = (j: number): string => `f${(i * 3 + j) % 20}`
    user.directory(`source-${i}`, Object.fromEntries([0, 1, 2, 3].map(j => [name(j), content(`${name(j)} `)])))
  }
  for (const n of LABELS.keys()) {
    fs.mkdirSync(user.at(`head-${n}`))
    shell('chattr', '+i', user.at(`head-${n}`)) // else what is written while HEAD is away keeps it away
  }
  for (const label of LABELS) user.ok('import', user.at('source-0'), '--label', label, '--tag', 'v0')
  const tally: Tally = { exits: new Map(), unexpected: [] }
  const end = Date.now() + SECONDS * 1000
  await Promise.all(Array.from({ length: USERS }, (_, n) => work(user, n, () => Date.now() >= end, tally)))
  t.diagnostic(
    [...tally.exits]
      .sort()
      .map(([what, count]) => `${what}: ${count}`)
      .join(', '),
  )
  assert.deepEqual(tally.unexpected, [])
  for (const { mountpoint } of readMounts().reverse())
    if (mountpoint.startsWith(`${user.folder}/`)) shell('umount', mountpoint)
  await isAccountedFor(user)
})

async function isAccountedFor(user: User): Promise<void> {
  const checked = user.json('fsck')
  assert.deepEqual([checked.clean, checked.findings.filter(({ severity }: any) => severity === 'damage')], [true, []])
  for (const label of user.ok('list', '-q').split('\n').filter(Boolean))
    for (const tag of user.ok('list', label, '-q').split('\n').filter(Boolean)) {
      const place = user.ok('mount', `${label}:${tag}`, user.at('last'), '--read-only')
      for (const [name, text] of Object.entries(readFiles(place)))
        if (text !== '') assert.equal(text, content(`${name} `), `${name} of ${label}:${tag}`)
      user.ok('unmount', place)
    }
  // When all is quiet, a collection leaves what is named, and nothing else.
  for (const limit = Date.now() + 60_000; ; await sleep(100)) {
    const { held, inUse } = user.json('gc', '--now', '--allow-empty')
    if (held.length + inUse.length === 0) break
    assert.ok(Date.now() < limit, 'something stays in use although nobody uses it')
  }
  const { findings, unused } = user.json('fsck')
  assert.deepEqual([findings.filter(({ kind }: any) => kind !== 'leftover'), unused], [[], 0])
  assert.deepEqual([fs.readdirSync(`${user.store}/staging`), fs.readdirSync(`${user.store}/trash`)], [[], []])
  assert.ok(listContents(user.store).commits.length > 0)
}
