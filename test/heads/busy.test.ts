import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { CommitResult } from '../../src/repository/commit.ts'
import { type Actor, startActor } from '../support/actor.ts'
import { createLab, type Lab } from '../support/lab.ts'
import { scaled } from '../support/scale.ts'

/** Commits of a HEAD that is written to without pause. What must come out is said in docs/head.md 4. */
const MAX_PAUSE_MS = 5_000
const SLACK_MS = 20_000
const FILES = { 'd/always': 'always '.repeat(50), 'd/rewritten': 'a'.repeat(5000), 'e/other': 'other' }

interface Writer extends AsyncDisposable {
  readonly process: ChildProcess
  stop(): Promise<void>
}

async function startWriter(script: string, ...args: string[]): Promise<Writer> {
  const child = spawn('python3', [path.join(import.meta.dirname, '../support', script), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
  })
  const closed = once(child, 'close') // all who hold its output are gone
  await once(child.stdout, 'data')
  const stop = async (): Promise<void> => {
    child.stdin.end()
    await closed
  }
  return { process: child, stop, [Symbol.asyncDispose]: stop }
}

/** Somebody who sits in a directory of HEAD, reads a file, and writes to one that has no name any more. */
async function startBystander({ head }: Lab): Promise<Actor> {
  const actor = await startActor()
  await actor.run(`os.chdir(${JSON.stringify(path.join(head, 'd'))})`)
  await actor.run(
    `gone = os.open('gone', os.O_CREAT | os.O_RDWR); os.write(gone, b'gone'); os.unlink('gone'); always = os.open('always', os.O_RDONLY)`,
  )
  return actor
}

async function assertUndisturbed(bystander: Actor): Promise<void> {
  assert.equal(await bystander.run(`os.pwrite(gone, b'!', 4) and os.pread(gone, 100, 0)`), 'gone!')
  assert.equal(await bystander.run('os.pread(always, 1000, 0)'), FILES['d/always'])
  assert.equal(await bystander.run(`'always' in os.listdir('.')`), true)
}

/** The numbers that a commit holds in the five files of the stepper, in the order in which it writes them. */
async function stepsIn(lab: Lab, { commit }: CommitResult): Promise<number[]> {
  const { id } = commit.metadata
  const mountpoint = lab.makeFolder('committed')
  await lab.mount(`app:${id}`, mountpoint)
  try {
    return ['s1', 's2', 's3', 's4', 's5'].map(name => {
      const bytes = fs.readFileSync(path.join(mountpoint, 'd', name))
      if (name !== 's4') return bytes.length < 8 ? 0 : Number(bytes.readBigInt64LE(0))
      for (let at = 0; at + 8 <= bytes.length; at += 8)
        assert.equal(Number(bytes.readBigInt64LE(at)), at / 8 + 1, 's4 has every step once')
      return bytes.length / 8
    })
  } finally {
    await lab.unmount(mountpoint)
  }
}

function assertFirstSteps(steps: readonly number[], round: number): void {
  const ordered = steps.every((step, i) => i === 0 || step <= steps[i - 1])
  assert.ok(ordered && steps[0] - steps[4] <= 1, `round ${round}: no point in time: ${steps.join(' ')}`)
}

for (const [what, pause, away] of [
  ['as fast as it can', '0', ''],
  ['with pauses', '0.0005', ''],
  ['from a directory elsewhere', '0.0002', 'away'],
] as const) {
  test(`a freeze commit holds the first n steps of somebody who writes ${what}`, async () => {
    const lab = await createLab(FILES)
    await lab.mount()
    await using _writer = await startWriter('stepper.py', path.join(lab.head, 'd'), pause, ...(away ? [away] : []))
    await using bystander = await startBystander(lab)
    let before = 0
    for (let round = 0; round < scaled(40); round++) {
      const result = await lab.commit({ consistency: 'freeze', maxPauseMs: MAX_PAUSE_MS, deadlineMs: 120_000 })
      const steps = await stepsIn(lab, result)
      assertFirstSteps(steps, round)
      assert.ok(steps[4] >= before, 'time goes on')
      before = steps[4]
      assert.ok(result.pauseMs > 0 && result.pauseMs < MAX_PAUSE_MS + SLACK_MS, `paused for ${result.pauseMs} ms`)
      assert.deepEqual(result.unstable, [])
      assert.equal(result.remounted.how, 'later')
      await assertUndisturbed(bystander)
    }
    assert.equal(lab.record().still, undefined)
  })
}

test('a freeze commit holds a point in time of two writers, one of whom keeps forking', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  await using _first = await startWriter('stepper.py', path.join(lab.head, 'd'), '0.0003')
  await using _second = await startWriter('forker.py', path.join(lab.head, 'e'))
  for (let round = 0; round < scaled(30); round++) {
    const result = await lab.commit({ consistency: 'freeze', maxPauseMs: MAX_PAUSE_MS, deadlineMs: 120_000 })
    assertFirstSteps(await stepsIn(lab, result), round)
    const mountpoint = lab.makeFolder('committed')
    await lab.mount(`app:${result.commit.metadata.id}`, mountpoint)
    const [stored, appended] = ['mapped', 'appended'].map(name => fs.readFileSync(path.join(mountpoint, 'e', name)))
    await lab.unmount(mountpoint)
    const difference = Number(stored.readBigInt64LE(0)) - appended.length / 8
    assert.ok(difference === 0 || difference === 1, `round ${round}: stored ${difference} more than appended`)
  }
})

test('a live commit has every file as at one moment, and every file that was never renamed', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  await using _writer = await startWriter('rewriter.py', path.join(lab.head, 'd'))
  await using bystander = await startBystander(lab)
  let unstable = 0
  for (let round = 0; round < scaled(60); round++) {
    const result = await lab.commit({ consistency: 'live' })
    unstable += result.unstable.length > 0 ? 1 : 0
    const mountpoint = lab.makeFolder('committed')
    await lab.mount(`app:${result.commit.metadata.id}`, mountpoint)
    const at = (name: string): string => fs.readFileSync(path.join(mountpoint, name), 'latin1')
    assert.equal(at('d/always'), FILES['d/always'])
    assert.equal(at('e/other'), FILES['e/other'])
    for (const name of fs.readdirSync(path.join(mountpoint, 'd'))) {
      const content = at(`d/${name}`)
      if (name === 'always' || result.unstable.some(path => path.endsWith(name))) continue
      // These two are written under their name: what a reader sees meanwhile is nothing, or the page that the write has reached.
      const lengths = name === 'third' || name === '.tmp' ? [0, 4096, 5000] : [5000]
      const ofOneWrite = content === (content[0] ?? '').repeat(content.length)
      assert.ok(ofOneWrite && lengths.includes(content.length), `round ${round}: ${name}: ${content.length} bytes`)
    }
    assert.match(at('d/rewritten'), /^(.)\1{4999}$/)
    await assertUndisturbed(bystander)
    await lab.unmount(mountpoint)
  }
  console.log(`${unstable} commits said that something did not hold still`)
})

test('a live commit says what never held still', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  await using actor = await startActor()
  const file = JSON.stringify(path.join(lab.head, 'e/other'))
  const loop = `i = 0\n  while not stop:\n    i += 1\n    os.pwrite(fd, (b'%03d' % (i % 1000)) * 50000, 0)`
  await actor.run(
    `fd = os.open(${file}, os.O_RDWR)\nstop = False\ndef write():\n  ${loop}\nt = threading.Thread(target=write); t.start()`,
  )
  let unstable: readonly string[] = []
  for (let tries = 0; tries < 100 && unstable.length === 0; tries++) ({ unstable } = await lab.commit()) // the writer may get no processor
  await actor.run('stop = True; t.join()')
  assert.deepEqual(unstable, ['e/other'])
  const log = fs.readFileSync(path.join(lab.paths.label, 'log'), 'utf8').trim().split('\n')
  assert.deepEqual((JSON.parse(log.at(-1) as string) as { unstable?: string[] }).unstable, ['e/other'])
})

test('an idle commit is refused with the name of who writes, and re-mounts HEAD when nobody does', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  let refused = 0
  for (let round = 0; round < scaled(30); round++) {
    await using writer = await startWriter('stepper.py', path.join(lab.head, 'd'), '0.0005')
    await assert.rejects(lab.commit({ consistency: 'idle' }), (error: Error & { details?: { holders?: string[] } }) => {
      assert.match(error.message, /app is being written to: pid \d+ \(.*open for writing/)
      assert.deepEqual(error.details?.holders, [String(writer.process.pid)])
      refused++
      return true
    })
    assert.equal(lab.record().still, undefined)
    await writer.stop()
    const result = await lab.commit({ consistency: 'idle' })
    assertFirstSteps(await stepsIn(lab, result), round)
    assert.equal(result.remounted.how, 'swapped')
  }
  assert.equal(refused, scaled(30))
})

test('two commits at once that stop the same processes do not let them go on for each other', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  const other = await createLab(FILES)
  await other.mount()
  await using writer = await startActor()
  for (const { head } of [lab, other])
    await writer.run(
      `import subprocess, sys; subprocess.Popen([sys.executable, ${JSON.stringify(path.join(import.meta.dirname, '../support/stepper.py'))}, ${JSON.stringify(path.join(head, 'd'))}, '0.0003'], stdin=subprocess.PIPE, stdout=subprocess.PIPE).stdout.readline()`,
    )
  const options = { consistency: 'freeze', maxPauseMs: MAX_PAUSE_MS, deadlineMs: 120_000 } as const
  for (let round = 0; round < scaled(15); round++) {
    const results = await Promise.all([lab.commit(options), other.commit(options)])
    assertFirstSteps(await stepsIn(lab, results[0]), round)
    assertFirstSteps(await stepsIn(other, results[1]), round)
  }
})
