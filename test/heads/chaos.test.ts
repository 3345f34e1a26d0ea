import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { unmount } from '../../src/host/mount-api.ts'
import { readTags } from '../../src/refs/tags.ts'
import { createLab, LABEL, type Lab } from '../support/lab.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/**
 * Eight users at one label of one store, with random commands of which every second is killed, and a writer in HEAD. In the end every tag
 * mounts, every file of it is whole, and HEAD holds every write that succeeded.
 */
const USERS = 8
const SECONDS = scaled(15)
const BINARY = path.resolve(import.meta.dirname, '../../bin/stratum')

/** Exit codes that a rival's command may cause; anything else is a bug. */
const EXPECTED = new Set([0, 3, 4, 5, 6, 7])

interface Outcome {
  readonly args: readonly string[]
  readonly status: number | null
  readonly stderr: string
}

/** Runs a command, and kills it after so many milliseconds. */
function runAndKill(lab: Lab, args: readonly string[], killAfterMs: number | undefined): Promise<Outcome> {
  const child = spawn(BINARY, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, STRATUM_STORE: path.join(lab.folder, 'store') },
  })
  let stderr = ''
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  const alarm = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  return new Promise(resolve =>
    child.once('close', status => {
      clearTimeout(alarm)
      resolve({ args, status, stderr })
    }),
  )
}

function randomCommand(lab: Lab, random: Random, user: number): string[] {
  const tags = [...readTags(lab.store, LABEL).keys()]
  const tag = `app:${tags.length > 0 ? random.pick(tags) : 'none'}`
  const view = path.join(lab.folder, `view-${user}`)
  return random.pick([
    ['commit', `app:c${random.below(1_000_000)}`],
    ['commit', 'app'],
    ['commit', 'app', '--freeze'],
    ['commit', 'app', '--idle'],
    ['mount', 'app', lab.head],
    ['mount', 'app', lab.head],
    ['unmount', 'app'],
    ['import', path.join(lab.folder, `source-${random.below(3)}`), '--label', 'app', '--one-file-system'],
    ['tag', tag, `t${random.below(20)}`, '--force'],
    ['mount', tag, view, '--read-only'],
    ['unmount', view],
  ])
}

function textOf(name: string, round: number): string {
  return `${name} ${round}\n`.repeat(20 + (round % 300))
}

/** Writes files through HEAD's mountpoint for as long as it is told, and returns what must be there. */
async function writeUntil(lab: Lab, isOver: () => boolean, random: Random): Promise<Map<string, string>> {
  const written = new Map<string, string>()
  const at = (name: string): string => path.join(lab.head, 'data', name)
  for (let round = 1; !isOver(); round++) {
    const name = `w${random.below(30)}`
    const text = textOf(name, round)
    try {
      if (random.chance(0.5)) {
        fs.writeFileSync(at(`.${name}`), text)
        fs.renameSync(at(`.${name}`), at(name))
      } else if (written.has(name)) {
        fs.unlinkSync(at(name))
        written.delete(name)
        fs.writeFileSync(at(name), text, { flag: 'wx' })
      } else fs.writeFileSync(at(name), text)
      written.set(name, text)
    } catch (error) {
      const { code } = error as { code?: string }
      assert.ok(['ENOENT', 'EROFS', 'EEXIST'].includes(code ?? ''), String(error)) // not mounted just now, or about to be exchanged
    }
    await new Promise(resolve => setTimeout(resolve, random.below(4)))
  }
  return written
}

function checkTree(folder: string, where: string): void {
  for (const name of fs.readdirSync(path.join(folder, 'data'))) {
    const text = fs.readFileSync(path.join(folder, 'data', name), 'utf8')
    if (name.startsWith('.') || text === '') continue // a temporary file, or one that was just made
    const round = Number(/ (\d+)\n/.exec(text)?.[1])
    assert.equal(text, textOf(name, round), `${name} in ${where}`)
  }
}

test('random commands by many, killed at random, lose nothing and break nothing', async t => {
  const lab = await createLab({ 'data/w0': textOf('w0', 0), other: 'other '.repeat(50) })
  for (const [i, name] of ['source-0', 'source-1', 'source-2'].entries()) {
    fs.mkdirSync(path.join(lab.makeFolder(name), 'data'))
    fs.writeFileSync(path.join(lab.folder, name, 'data/w1'), textOf('w1', i))
  }
  const seed = firstSeed()
  const end = Date.now() + SECONDS * 1000
  const isOver = (): boolean => Date.now() >= end
  let commands = 0
  const user = async (number: number): Promise<void> => {
    const random = createRandom(seed * 1000 + number)
    while (!isOver()) {
      const kill = random.chance(0.5) ? random.below(300) : undefined
      const { args, status, stderr } = await runAndKill(lab, randomCommand(lab, random, number), kill)
      commands++
      if (status === 1 && /^error: app: .* is at /.test(stderr)) continue
      if (status !== null) assert.ok(EXPECTED.has(status), `${args.join(' ')}: exit ${status}: ${stderr}`)
    }
  }
  const writing = writeUntil(lab, isOver, createRandom(seed))
  await Promise.all(Array.from({ length: USERS }, (_, number) => user(number)))
  const written = await writing
  t.diagnostic(`${commands} commands, ${written.size} files`)
  await lab.tag(`app:${lab.record().base}`, 'the-end')
  for (let number = 0; number < USERS; number++) unmountAll(path.join(lab.folder, `view-${number}`))
  unmountAll(lab.head)
  for (const tag of readTags(lab.store, LABEL).keys()) {
    const view = lab.makeFolder('view')
    await lab.mount(`app:${tag}`, view, { readOnly: true })
    checkTree(view, tag)
    await lab.unmount(view)
  }
  await lab.mount()
  checkTree(lab.head, 'HEAD')
  for (const [name, text] of written)
    assert.equal(fs.readFileSync(path.join(lab.head, 'data', name), 'utf8'), text, `${name} in HEAD`)
  const { commit } = await lab.commit()
  assert.equal(await lab.import(lab.head, 'again'), commit.metadata.id)
})

function unmountAll(mountpoint: string): void {
  for (;;) {
    try {
      unmount(mountpoint)
    } catch (error) {
      assert.ok(['EINVAL', 'ENOENT'].includes((error as { code: string }).code), String(error))
      return
    }
  }
}
