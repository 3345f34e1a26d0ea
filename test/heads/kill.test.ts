import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { unmount } from '../../src/host/mount-api.ts'
import { startActor } from '../support/actor.ts'
import { runCli } from '../support/cli.ts'
import { createLab, type Lab } from '../support/lab.ts'
import { createRandom } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/**
 * A committer is killed before each of its changing calls (STRATUM_FAULT=kill@n). After the next command nobody stands still, HEAD can be
 * written to, it holds every file that was ever written, and nothing is left over.
 */
const STEPS_MAX = 400

interface Scene {
  readonly lab: Lab
  /** What HEAD must hold. */
  readonly files: Map<string, string>
}

async function createScene(): Promise<Scene> {
  const files = new Map([
    ['base', 'base '.repeat(50)],
    ['d/deep', 'deep'],
  ])
  const lab = await createLab(Object.fromEntries(files))
  return { lab, files }
}

/** `later-12` is written to the file `later`: the number of steps should not grow from one commit to the next. */
function write({ lab, files }: Scene, text: string): void {
  const name = text.split('-')[0]
  files.set(name, `${text} `.repeat(30))
  fs.writeFileSync(path.join(lab.head, name), files.get(name) as string)
}

function check({ lab, files }: Scene, when: string): void {
  const found = new Map<string, string>()
  for (const entry of fs.readdirSync(lab.head, { withFileTypes: true, recursive: true })) {
    const file = path.join(entry.parentPath, entry.name)
    if (entry.isFile()) found.set(path.relative(lab.head, file), fs.readFileSync(file, 'utf8'))
  }
  assert.deepEqual([...found].sort(), [...files].sort(), when)
  assert.equal(lab.record().still, undefined, when)
  assert.deepEqual(lab.paths.next.filter(fs.existsSync), [], when)
}

function groupsOf(pid: number): string[] {
  // Groups of others may go while it looks, which it says by its exit status.
  const { stdout } = spawnSync('find', ['/sys/fs/cgroup', '-name', `stratum-freeze-${pid}-*`], { encoding: 'utf8' })
  return stdout.split('\n').filter(Boolean)
}

/** Kills the commit at every step, with one command after each. Returns how many steps there were. */
async function killAtEachStep(
  scene: Scene,
  commit: readonly string[],
  around: { before?: (n: number) => Promise<void>; after: (n: number, pid: number) => Promise<void> },
): Promise<number> {
  const { lab } = scene
  for (let n = 1; n < STEPS_MAX; n++) {
    await around.before?.(n)
    const { status, pid, stderr } = await runCli(lab, ['commit', 'app', ...commit], { STRATUM_FAULT: `kill@${n}` })
    assert.ok(status === null || status === 0, `killed at ${n}: ${stderr}`)
    await lab.tag(`app:${lab.record().base}`, `after-${n}`)
    await around.after(n, pid)
    if (status === 0) return n
  }
  return assert.fail('the commit never ended')
}

async function checkNothingLeft({ lab }: Scene): Promise<void> {
  const { commit } = await lab.commit()
  assert.equal(await lab.import(lab.head, 'again'), commit.metadata.id)
  const left = execFileSync('find', [path.join(lab.folder, 'store'), '-name', '.new-*', '-o', '-path', '*/staging/*'], {
    encoding: 'utf8',
  })
  assert.equal(left, '')
}

test('a freeze commit that is killed leaves nobody frozen', async () => {
  const scene = await createScene()
  const { lab } = scene
  await lab.mount()
  await using writer = await startActor()
  await writer.run(`fd = os.open(${JSON.stringify(path.join(lab.head, 'base'))}, os.O_RDWR)`)
  const steps = await killAtEachStep(scene, ['--freeze', '--max-pause', '20000'], {
    before: async n => write(scene, `file-${n}`),
    async after(n, pid) {
      assert.equal(await writer.run('1 + 1'), 2)
      assert.deepEqual(groupsOf(pid), [])
      write(scene, `later-${n}`)
      check(scene, `killed at ${n}`)
    },
  })
  assert.ok(steps > 40, `${steps} steps`)
  await checkNothingLeft(scene)
})

test('an idle commit that is killed leaves HEAD writable', async () => {
  const scene = await createScene()
  const { lab } = scene
  await lab.mount()
  await using reader = await startActor()
  await reader.run(`os.chdir(${JSON.stringify(lab.head)})`) // keeps HEAD from being re-mounted, not from being idle
  await killAtEachStep(scene, ['--idle'], {
    before: async n => write(scene, `file-${n}`),
    async after(n) {
      write(scene, `later-${n}`)
      check(scene, `killed at ${n}`)
    },
  })
  await reader.stop()
  await checkNothingLeft(scene)
})

test('a commit that is killed while it re-mounts HEAD loses nothing', async () => {
  const scene = await createScene()
  const { lab } = scene
  await lab.mount()
  const steps = await killAtEachStep(scene, [], {
    before: async n => write(scene, `file-${n}`),
    async after(n) {
      write(scene, `later-${n}`)
      check(scene, `killed at ${n}`)
    },
  })
  assert.ok(steps > 60, `${steps} steps`)
  await checkNothingLeft(scene)
})

test('a commit that is killed while it folds HEAD loses nothing', async () => {
  const scene = await createScene()
  const { lab } = scene
  const steps = await killAtEachStep(scene, [], {
    async before(n) {
      await lab.mount()
      write(scene, `file-${n}`)
      unmount(lab.head)
    },
    async after(n) {
      await lab.mount()
      check(scene, `killed at ${n}`)
      write(scene, `later-${n}`)
      unmount(lab.head)
    },
  })
  assert.ok(steps > 50, `${steps} steps`)
  await lab.mount()
  await checkNothingLeft(scene)
})

test('recovery that is killed, and killed again, ends with the right content too', async () => {
  const scene = await createScene()
  const { lab } = scene
  for (let pair = 0; pair < scaled(30); pair++) {
    const random = createRandom(firstSeed() + pair)
    const isMounted = random.chance(0.5)
    await lab.mount()
    write(scene, `file-${pair}`)
    if (!isMounted) unmount(lab.head)
    const kills = [`kill@${45 + random.below(40)}`, `kill@${1 + random.below(12)}`, `kill@${1 + random.below(12)}`]
    await runCli(lab, ['commit', 'app'], { STRATUM_FAULT: kills[0] })
    const tag = ['tag', `app:${lab.record().base}`, `pair-${pair}`]
    for (const kill of kills.slice(1)) await runCli(lab, tag, { STRATUM_FAULT: kill })
    await lab.tag(tag[1], tag[2])
    if (!isMounted) await lab.mount()
    check(scene, `seed ${firstSeed() + pair}, ${isMounted ? 'mounted' : 'unmounted'}, ${kills.join(', ')}`)
    write(scene, `later-${pair}`)
    await lab.unmount()
  }
  await lab.mount()
  check(scene, 'at the end')
  await checkNothingLeft(scene)
})
