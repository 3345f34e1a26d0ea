import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { content } from '../support/store.ts'
import { createRandom } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { createUser, type User } from '../support/user.ts'

/**
 * Ctrl-C at many moments: the command stands still before a changing call (STRATUM_FAULT=stop@n) while the signal comes. It then either
 * ends with 130 and the store is as before, or it was past the point where it counts and ends as if nothing had happened. Nothing is left.
 */
const BINARY = path.resolve(import.meta.dirname, '../../bin/stratum')
const LIMIT_MS = 120_000

interface Ended {
  readonly status: number | null
  readonly signal: string | null
  readonly stderr: string
  /** Whether it stood still at that call at all. */
  readonly stood: boolean
}

async function interruptAt(user: User, args: readonly string[], step: number, signal: NodeJS.Signals): Promise<Ended> {
  const child = spawn(BINARY, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, STRATUM_STORE: user.store, STRATUM_FAULT: `stop@${step}` },
  })
  let stderr = ''
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  const closed = once(child, 'close')
  const stood = await standsStill(child)
  if (stood) {
    child.kill(signal)
    child.kill('SIGCONT')
  }
  const [status, by] = (await closed) as [number | null, string | null]
  return { status, signal: by, stderr, stood }
}

async function standsStill(child: ChildProcess): Promise<boolean> {
  for (const end = Date.now() + LIMIT_MS; Date.now() < end; await sleep(5)) {
    if (child.exitCode !== null || child.signalCode !== null) return false
    if (stateOf(child.pid ?? 0) === 'T') return true
  }
  return assert.fail('it neither ends nor stands still')
}

function stateOf(pid: number): string | undefined {
  try {
    return / ([A-Z]) /.exec(fs.readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]
  } catch {
    return undefined
  }
}

function refsOf(user: User): unknown {
  const refs = `${user.store}/refs/app`
  return [fs.readdirSync(`${refs}/tags`), fs.readFileSync(`${refs}/log`, 'utf8')]
}

/** Every so-and-so-many-th step, each with another signal. */
async function interruptMany(user: User, args: (n: number) => readonly string[], before: (n: number) => void) {
  const random = createRandom(firstSeed())
  let interrupted = 0
  for (let step = 1; ; step += Math.max(1, Math.round((3 + random.below(7)) / scaled(1)))) {
    before(step)
    const refs = refsOf(user)
    const ended = await interruptAt(user, args(step), step, random.pick(['SIGINT', 'SIGTERM', 'SIGHUP']))
    const when = `at call ${step}: ${ended.stderr}`
    assert.equal(ended.signal, null, when)
    assert.ok(ended.status === 0 || ended.status === 130, `${ended.status} ${when}`)
    if (ended.status === 130) {
      interrupted++
      assert.equal(ended.stderr, 'error: interrupted; the store is as before\n')
      assert.deepEqual(refsOf(user), refs, when)
    }
    assert.deepEqual(fs.readdirSync(`${user.store}/staging`), [], when)
    if (!ended.stood) return interrupted
  }
}

function withCommit(): User {
  const user = createUser()
  user.ok('import', user.directory('one', { a: content('a') }), '--label', 'app', '--tag', 'v1')
  return user
}

function isIntact(user: User): void {
  const { findings, clean } = user.json('fsck')
  assert.deepEqual([findings, clean], [[], true])
}

test('an import that is interrupted leaves the store as before', async () => {
  const user = withCommit()
  const source = user.directory(
    'two',
    Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}`, content(`${i}`)])),
  )
  const interrupted = await interruptMany(
    user,
    n => ['import', source, '--label', 'app', '--tag', `i${n}`],
    n => fs.writeFileSync(`${source}/f${n}`, content(`again ${n}`)),
  )
  assert.ok(interrupted > 0)
  isIntact(user)
})

test('a commit that is interrupted leaves HEAD and the store as before, and nobody standing still', async () => {
  const user = withCommit()
  user.ok('mount', 'app', user.at('head'))
  const texts = new Map<string, string>()
  const write = (n: number): void => {
    texts.set(`f${n}`, content(`${n}`))
    fs.writeFileSync(user.at(`head/f${n}`), content(`${n}`))
    for (const [name, text] of texts) assert.equal(fs.readFileSync(user.at(`head/${name}`), 'utf8'), text)
  }
  const interrupted = await interruptMany(user, n => ['commit', `app:c${n}`, '--freeze'], write)
  assert.ok(interrupted > 0)
  write(1_000_000)
  isIntact(user)
})

test('an export that is interrupted leaves no file', async () => {
  const user = withCommit()
  fs.mkdirSync(user.at('out'))
  for (let step = 1; ; step++) {
    const { status, signal, stood } = await interruptAt(
      user,
      ['export', 'app:v1', user.at('out/x.oci.tar')],
      step,
      'SIGINT',
    )
    assert.equal(signal, null)
    assert.deepEqual(fs.readdirSync(user.at('out')), status === 130 ? [] : ['x.oci.tar'], `at call ${step}`)
    fs.rmSync(user.at('out/x.oci.tar'), { force: true })
    if (!stood) break
  }
})

test('a wait for a lock ends at once with Ctrl-C', async () => {
  const user = withCommit()
  const holder = spawn('flock', ['--exclusive', `${user.store}/refs/app/lock`, 'sleep', '1000'], { stdio: 'ignore' })
  try {
    const child = spawn(BINARY, ['tag', 'app:v1', 'v2'], {
      env: { ...process.env, STRATUM_STORE: user.store, STRATUM_LOCK_TIMEOUT: '1000' },
    })
    let stderr = ''
    child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
    const closed = once(child, 'close')
    for (const end = Date.now() + LIMIT_MS; Date.now() < end && !waits(child.pid ?? 0, user); ) await sleep(20)
    child.kill('SIGINT')
    assert.deepEqual(await closed, [130, null])
    assert.equal(stderr, 'error: interrupted; the store is as before\n')
  } finally {
    holder.kill('SIGKILL')
  }
})

/** Whether it has the lock's file open, so that its handlers are there and it asks for the lock. */
function waits(pid: number, user: User): boolean {
  try {
    return fs
      .readdirSync(`/proc/${pid}/fd`)
      .some(fd => fs.readlinkSync(`/proc/${pid}/fd/${fd}`) === `${user.store}/refs/app/lock`)
  } catch {
    return false
  }
}
