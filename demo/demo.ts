import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/**
 * The main job on a real directory: import, tag, mount, edit, diff, commit, the old state beside the new one, revert, remove, collect.
 * Runs in a mount namespace and a store of its own and leaves nothing behind. `npm run demo -- /some/directory` takes another directory.
 */
const ROOT = path.resolve(import.meta.dirname, '..')
const STRATUM = path.join(ROOT, 'bin/stratum')
const INSIDE = 'STRATUM_DEMO_FOLDER'
const folder = process.env[INSIDE]

if (folder === undefined) process.exit(runInNamespace())
else show(folder, process.argv[2] ?? '/usr/share')

/** Mounts made here vanish with the namespace, whatever happens. */
function runInNamespace(): number {
  if (process.getuid?.() !== 0) {
    console.error('the demo mounts, which needs root: sudo npm run demo')
    return 11
  }
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'stratum-demo-'))
  try {
    const { status } = spawnSync(
      'unshare',
      ['--mount', '--propagation', 'private', process.execPath, import.meta.filename, ...process.argv.slice(2)],
      {
        stdio: 'inherit',
        env: {
          ...process.env,
          [INSIDE]: scratch,
          STRATUM_STORE: `${scratch}/store`,
          STRATUM_RUN: `${scratch}/run`,
          STRATUM_RUN_USER: `${scratch}/run/user`,
        },
      },
    )
    return status ?? 130
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true })
  }
}

function show(scratch: string, source: string): void {
  const live = `${scratch}/live`
  const old = `${scratch}/old`
  say(`A store of its own, and ${source} as the data.`)
  stratum('import', source, '--label', 'demo', '--tag', 'v1', '-m', 'as installed')
  stratum('tag', 'demo:v1', 'latest')

  say('HEAD is the directory itself, writable. The kernel serves it: no copy was made.')
  stratum('mount', 'demo', live)
  edit(live)
  stratum('diff', 'demo')
  stratum('commit', 'demo:v2', '-m', 'edited')

  say('The old state beside the new one, read-only.')
  stratum('mount', 'demo:v1', old)
  compare(old, live)

  say('Back to v1, on the fly, and the log of it all.')
  stratum('apply', 'demo:v1', live)
  compare(old, live)
  stratum('log', 'demo')

  say('A tag goes, and what only it kept goes with it.')
  stratum('unmount', old)
  stratum('remove', 'demo:v2')
  stratum('gc', '--now')
  stratum('status', 'demo')
  stratum('unmount', live)
}

function say(text: string): void {
  console.log(`\n# ${text}`)
}

/** Runs a command as a user would, shows what it prints, and how long it took. */
function stratum(...args: string[]): void {
  console.log(`$ stratum ${args.map(arg => (/\s/.test(arg) ? `'${arg}'` : arg)).join(' ')}`)
  const started = performance.now()
  const { status } = spawnSync(STRATUM, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  console.log(`  [${((performance.now() - started) / 1000).toFixed(2)} s]`)
  if (status !== 0) throw new Error(`stratum ${args[0]} exited with ${status}`)
}

function edit(live: string): void {
  const [first, second] = fs.readdirSync(live, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  console.log('$ # one file written, one changed, one removed, a directory made')
  fs.writeFileSync(path.join(live, 'notes.txt'), 'written through the mount\n')
  fs.appendFileSync(path.join(first.parentPath, first.name), 'one more line\n')
  fs.rmSync(path.join(second.parentPath, second.name))
  fs.mkdirSync(path.join(live, 'new-folder'))
  fs.writeFileSync(path.join(live, 'new-folder/data'), 'x'.repeat(100_000))
}

function compare(old: string, live: string): void {
  const { stdout } = spawnSync('diff', ['-rq', '--no-dereference', old, live], { encoding: 'utf8', maxBuffer: 1 << 26 })
  const lines = stdout.split('\n').filter(Boolean)
  console.log('$ diff -rq old live')
  console.log(lines.length === 0 ? '(no difference)' : lines.join('\n'))
}
