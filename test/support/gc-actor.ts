import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { recoverHead } from '../../src/heads/recover-head.ts'
import { parseLabel } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import { parseTag, type Tag } from '../../src/names/tag.ts'
import { moveRefs, tagRef } from '../../src/refs/move-refs.ts'
import { listLabels, readTag, readTags } from '../../src/refs/tags.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { commitHead } from '../../src/repository/commit.ts'
import type { Context } from '../../src/repository/context.ts'
import { importTree } from '../../src/repository/import.ts'
import { mountReference } from '../../src/repository/mount.ts'
import { unmountTarget } from '../../src/repository/unmount.ts'
import { lockLabel, lockStore } from '../../src/store/locks.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createRandom } from './random.ts'
import { checkNamed, namedContent } from './named-files.ts'

/**
 * One of those who use a store all at once: `node gc-actor.ts <role> <store> <scratch> <seed>` goes on until it is killed. What must not
 * happen it writes to the file `wrong` in the scratch folder. Every file is named by its content, so whoever reads it can judge it.
 */
const [role, root, scratch, seed] = process.argv.slice(2)
const random = createRandom(Number(seed))
const context: Context = { store: openStore(root), actor: role, lockLimitMs: 60_000 }
const { store } = context

/** Others remove what this one is about to use, and hold what it needs. */
const EXPECTED = ['not-found', 'busy', 'exists', 'in-use', 'conflict'] as const

const ROLES: Record<string, () => Promise<void>> = { importer, collector, mounter, writer }

for (;;) {
  try {
    await ROLES[role]()
  } catch (error) {
    if (!EXPECTED.some(code => isStratumError(error, code))) {
      fs.appendFileSync(`${scratch}/wrong`, `${role} ${process.pid}: ${(error as Error).stack}\n`)
      process.exit(1)
    }
  }
  await sleep(random.below(20))
}

/** Imports a few of a small number of different files, so that objects go and come again, and removes tags. */
async function importer(): Promise<void> {
  const label = parseLabel(`label-${random.below(3)}`)
  const tag = parseTag(`v${random.below(6)}`)
  if (readTag(store, label, tag) !== undefined) return removeTag(label, tag)
  const source = fs.mkdtempSync(`${scratch}/source-`)
  for (let i = 0; i < 8; i++) {
    const name = `f${random.below(40)}`
    fs.writeFileSync(`${source}/${name}`, namedContent(name))
  }
  await importTree(context, { label, tag, path: source, message: undefined, mounts: 'refuse' })
  fs.rmSync(source, { recursive: true })
}

async function removeTag(label: ReturnType<typeof parseLabel>, tag: Tag): Promise<void> {
  using _label = await lockLabel(store, label)
  using _store = await lockStore(store, 'shared')
  const from = readTag(store, label, tag)
  if (from === undefined) return
  moveRefs(store, label, { actor: role, operation: 'remove' }, new Map([[tagRef(tag), { from, to: null }]]))
}

async function collector(): Promise<void> {
  await collectGarbage(context, random.chance(0.5) ? { now: true } : { graceSeconds: 1 })
}

/** Mounts some tag, reads all of it and takes the mount away, sometimes while a file is still open. */
async function mounter(): Promise<void> {
  const label = random.pick(listLabels(store).filter(label => label !== parseLabel('work')))
  const tag = random.pick([...readTags(store, label).keys()])
  if (label === undefined || tag === undefined) return
  const mountpoint = fs.mkdtempSync(`${scratch}/mount-`)
  const reference = parseReference(`${label}:${tag}`)
  await mountReference(context, { reference, mountpoint, readOnly: true, allowSuidAndDevices: false, uid: 0 })
  await sleep(random.below(200))
  checkNamed(mountpoint)
  await unmountTarget(context, mountpoint)
  fs.rmdirSync(mountpoint)
}

/** Lets HEAD go on where a committer was killed in the middle of a re-mount: any command does that first. */
async function recover(): Promise<void> {
  using _label = await lockLabel(store, parseLabel('work'))
  using _store = await lockStore(store, 'shared')
  await recoverHead(store, parseLabel('work'))
}

/** Writes through the mount of a HEAD, commits it and reads everything. */
async function writer(): Promise<void> {
  const mountpoint = `${scratch}/work`
  await recover()
  const name = `f${random.below(200)}`
  fs.writeFileSync(`${mountpoint}/.part`, namedContent(name))
  fs.renameSync(`${mountpoint}/.part`, `${mountpoint}/${name}`)
  if (random.chance(0.3)) fs.rmSync(`${mountpoint}/f${random.below(200)}`, { force: true })
  const common = { message: undefined, maxPauseMs: 1000, deadlineMs: 10_000, freezers: undefined, allowUnclean: true }
  await commitHead(context, { label: parseLabel('work'), tag: undefined, consistency: 'live', ...common })
  const tags = [...readTags(store, parseLabel('work')).keys()]
  if (tags.length > 3) await removeTag(parseLabel('work'), random.pick(tags))
  checkNamed(mountpoint)
}
