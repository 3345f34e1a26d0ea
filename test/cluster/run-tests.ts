import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { failingTests } from '../support/failing-tests.ts'
import { describeCluster } from './machine/layout.ts'
import { startCluster } from './machine/start.ts'
import { say } from './programs/cache.ts'
import { collectEvidence } from './support/evidence.ts'

/** Starts the cluster in the namespaces that it was started in and runs the test files, one after the other. See run.ts. */
const NODES = 2
/** Before all others: whether the cluster is one, and the only file that wants it without the driver. */
const FIRST = ['cluster.test.ts', 'install.test.ts']
const [folder, images, driverTag, ...words] = process.argv.slice(2)
/** Of one file. Long runs are started by hand, with a word. */
const LIMIT_MS = (words.length === 0 ? 20 : 60) * 60_000

const cluster = describeCluster(folder, NODES)
const scratch = path.join(folder, 'tmp') // on a disk, which stores want, and removed with the cluster
fs.mkdirSync(scratch)
const started = performance.now()
/** What is told of each failed file once more at the end, where people look first. */
const failures: string[] = []
try {
  await startCluster(cluster, images.split(','))
  say(`the cluster is up (${seconds()} s)`)
  for (const file of testFiles()) {
    say(`${file} …`)
    const { ok, output } = await runFile(file)
    say(`${file} ${ok ? 'passed' : 'FAILED'} (${seconds()} s since the start)`)
    if (ok) continue
    console.log(await collectEvidence(cluster))
    failures.push(`failed: ${file}\n${failingTests(output)}`)
  }
} catch (error) {
  console.log(await collectEvidence(cluster))
  failures.push(String(error instanceof Error ? error.stack : error))
}
for (const failure of failures) console.log(failure)
process.exit(failures.length > 0 ? 1 : 0)

function seconds(): string {
  return ((performance.now() - started) / 1000).toFixed(0)
}

function testFiles(): string[] {
  const found = fs.globSync('**/*.test.ts', { cwd: import.meta.dirname }).sort()
  const all = [...FIRST, ...found.filter(file => !FIRST.includes(file))]
  const chosen = all.filter(file => words.length === 0 || words.some(word => file.includes(word)))
  if (chosen.length === 0) throw new Error(`no test file matches ${words.join(' ')}`)
  return chosen
}

function runFile(file: string): Promise<{ ok: boolean; output: string }> {
  const child = spawn(process.execPath, ['--test-reporter=spec', path.join(import.meta.dirname, file)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      TMPDIR: scratch,
      STRATUM_TEST_CLUSTER: folder,
      STRATUM_TEST_CLUSTER_NODES: String(NODES),
      STRATUM_IMAGE_TAG: driverTag,
    },
  })
  let output = ''
  child.stdout.on('data', (piece: Buffer) => {
    process.stdout.write(piece)
    output += piece.toString()
  })
  const alarm = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  return new Promise(resolve => {
    child.once('close', status => {
      clearTimeout(alarm)
      resolve({ ok: status === 0, output })
    })
  })
}
