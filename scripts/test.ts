import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { failingTests } from '../test/support/failing-tests.ts'

/**
 * Runs the test files, a few at once, each as a process of its own in a mount namespace of its own, so that whatever it mounts is gone
 * with it. `npm test -- images heads/model` runs only files whose path holds one of the words. STRATUM_TEST_SCALE multiplies the counts
 * of the random suites.
 */
const ROOT = path.resolve(import.meta.dirname, '..')
const TEST_FOLDER = path.join(ROOT, 'test')
const LIMIT_MS = 30 * 60_000
const words = process.argv.slice(2)

interface Result {
  file: string
  ok: boolean
  seconds: number
  output: string
}

const files = fs
  .globSync('**/*.test.ts', { cwd: TEST_FOLDER })
  .filter(file => words.length === 0 || words.some(word => file.includes(word)))
  .filter(file => !file.startsWith('cluster/'))
  .sort()
if (files.length === 0) {
  console.error(`no test file matches ${words.join(' ')}`)
  process.exit(1)
}
/** Groups of the tests that run now: they are no part of ours, so whoever stops us has to stop them through us. */
const running = new Set<number>()
let isStopped = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    isStopped = true
    for (const pid of running) killGroup(pid)
  })
const started = performance.now()
const failed = (await runAll(files)).filter(({ ok }) => !ok)
const seconds = ((performance.now() - started) / 1000).toFixed(0)
if (isStopped) console.log('\nstopped')
else console.log(`\n${files.length - failed.length} of ${files.length} files passed in ${seconds} s`)
for (const { file, output } of failed) console.log(`failed: ${file}\n${failingTests(output)}`)
process.exit(isStopped || failed.length > 0 ? 1 : 0)

async function runAll(queue: string[]): Promise<Result[]> {
  const results: Result[] = []
  const waiting = [...queue]
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined && !isStopped; file = waiting.shift()) {
      const result = await runFile(file)
      results.push(result)
      console.log(`${result.ok ? 'ok    ' : 'FAILED'} ${result.seconds.toFixed(1).padStart(6)} s  ${file}`)
      if (!result.ok) console.log(result.output)
    }
  }
  await Promise.all(Array.from({ length: Math.min(os.availableParallelism(), queue.length) }, work))
  return results
}

function runFile(file: string): Promise<Result> {
  const begun = performance.now()
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'stratum-test-'))
  const child = spawn(
    'unshare',
    ['--mount', '--propagation', 'private', process.execPath, '--test-reporter=spec', path.join(TEST_FOLDER, file)],
    {
      cwd: ROOT,
      detached: true, // a process group of its own, so that nothing it started is left
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        TMPDIR: scratch,
        STRATUM_RUN: path.join(scratch, 'run'),
        NODE_COMPILE_CACHE: path.join(ROOT, 'node_modules/.cache/compile'),
      },
    },
  )
  const { pid = 0 } = child
  running.add(pid)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (output += piece.toString()))
  const alarm = setTimeout(() => killGroup(pid), LIMIT_MS)
  return new Promise(resolve => {
    child.on('close', code => {
      clearTimeout(alarm)
      killGroup(pid)
      running.delete(pid)
      removeScratch(scratch)
      resolve({ file, ok: code === 0, seconds: (performance.now() - begun) / 1000, output })
    })
  })
}

/** A directory below a HEAD that was migrated is immutable, so that nobody writes where HEAD should be. */
function removeScratch(folder: string): void {
  spawnSync('chattr', ['-R', '-f', '-i', folder])
  fs.rmSync(folder, { recursive: true, force: true })
}

function killGroup(pid: number): void {
  try {
    if (pid > 0) process.kill(-pid, 'SIGKILL')
  } catch {
    // nobody is left
  }
}
