import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { unmount } from '../../src/host/mount-api.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { parseReference } from '../../src/names/reference.ts'
import { toUser } from '../../src/names/text.ts'
import { readHead } from '../../src/refs/head-file.ts'
import { listLabels, readTags } from '../../src/refs/tags.ts'
import { listEntries } from '../../src/repository/browse.ts'
import { collectGarbage } from '../../src/repository/collect.ts'
import { diffTrees } from '../../src/repository/diff.ts'
import { checkStore } from '../../src/repository/fsck.ts'
import { listMounted } from '../../src/mounts/records.ts'
import { createLab, type Lab } from './lab.ts'
import { listContents, readFiles, runStratum } from './store.ts'

/** A command that is cut off at each of its changing calls. */
export interface Scene {
  readonly name: string
  /** What there is before, in a fresh lab; the same each time. */
  readonly prepare: (lab: Lab) => Promise<void>
  readonly args: (lab: Lab) => readonly string[]
  /** Exit statuses by which the second run may say that the first one had come through. */
  readonly done?: readonly number[]
  /** There is damage before. */
  readonly isDamaged?: boolean
  /** The exit status of an undisturbed run. */
  readonly status?: number
  /** Fewer steps than this would mean that the scene does not do what it is meant to. */
  readonly stepsMin: number
  /** HEAD may be half written in between, and then be kept so: only that nothing is lost counts of what is saved. */
  readonly savesHalf?: boolean
  /** What else must be as in an undisturbed run. */
  readonly also?: (lab: Lab) => unknown
}

/** Labs lie in memory: only what a killed process leaves counts here, not what a power loss does, and there are many. */
const LABS = path.join(os.tmpdir(), 'labs')
fs.mkdirSync(LABS)
execFileSync('mount', ['-t', 'tmpfs', 'labs', LABS])
execFileSync('truncate', ['-s', '1G', `${LABS}/image`])
execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', `${LABS}/image`])
execFileSync('mount', ['-o', 'loop', `${LABS}/image`, LABS])
process.env.TMPDIR = LABS

const EPOCH = new Date('2026-01-01T00:00:00Z')

export async function openScene(scene: Scene): Promise<Lab & Disposable> {
  const lab = await createLab()
  process.env.STRATUM_RUN = path.join(lab.folder, 'run')
  await scene.prepare(lab)
  return { ...lab, [Symbol.dispose]: () => clearAway(lab) }
}

/** A directory whose tree is the same whenever it is made. */
export function makeSource(lab: Lab, name: string, files: Readonly<Record<string, string>>): string {
  const folder = lab.makeFolder(name)
  for (const [file, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
    fs.writeFileSync(path.join(folder, file), text)
  }
  for (const each of ['', ...(fs.readdirSync(folder, { recursive: true }) as string[])])
    fs.utimesSync(path.join(folder, each), EPOCH, EPOCH)
  return folder
}

export function runScene(
  lab: Lab,
  args: readonly string[],
  fault: string | undefined,
  wrapper: readonly string[] = [],
) {
  const env = fault === undefined ? {} : { STRATUM_FAULT: fault }
  return runStratum(lab.store.path, args, { STRATUM_RUN_USER: path.join(lab.folder, 'run-user'), ...env }, wrapper)
}

/** The number of changing calls of an undisturbed run, and what it leaves. */
export async function runCalmly(scene: Scene): Promise<{ steps: number; state: unknown }> {
  using lab = await openScene(scene)
  const counted = path.join(lab.folder, 'counted')
  const { status, stderr } = runScene(lab, scene.args(lab), `count@${counted}`)
  assert.equal(status, scene.status ?? 0, stderr)
  return { steps: Number(fs.readFileSync(counted, 'utf8')), state: await stateOf(scene, lab) }
}

/** After whatever cut a command off: nothing is damaged, the same command again ends as an undisturbed run does, and nothing is left over. */
export async function assertRecovers(scene: Scene, lab: Lab, state: unknown, when: string): Promise<void> {
  const { settled } = await checkStore(lab.context, { repair: false, quick: false })
  const damage = settled.flatMap(({ finding }) => (finding.severity === 'damage' ? [finding.message] : []))
  if (scene.isDamaged !== true) assert.deepEqual(damage, [], when)
  const again = runScene(lab, scene.args(lab), undefined)
  const expected = [scene.status ?? 0, ...(scene.done ?? [])]
  assert.ok(expected.includes(again.status ?? -1), `${when}: the second run ends with ${again.status}: ${again.stderr}`)
  assert.deepEqual(await stateOf(scene, lab), state, when)
}

/** Everything that users see, and what is in the store once a collection has taken what nothing keeps. */
async function stateOf(scene: Scene, lab: Lab): Promise<unknown> {
  const { context, store, folder } = lab
  await collectGarbage(context, { now: true, allowEmpty: true })
  const { settled, unused } = await checkStore(context, { repair: false, quick: false })
  const labels = []
  for (const label of listLabels(store)) {
    const tags: Record<string, unknown> = {}
    for (const [tag, id] of readTags(store, label))
      if (!(scene.savesHalf && tag.startsWith('before-apply')))
        tags[tag.replace(/-\d{8}T\d{6}Z/, '')] = await filesOf(lab, `${label}:${id}`)
    const head = readHead(store, label)
    const changes = head && (await diffTrees(context, parseReference(label), undefined)).differences
    labels.push({
      label,
      tags,
      head: head && head.state.kind,
      // Of a directory only its time differs, where the killed run had renamed into it what the second run found done.
      changes: changes
        ?.filter(({ path }) => !(scene.savesHalf && path === ''))
        .map(({ kind, path }) => `${kind} ${path}`),
    })
  }
  const mounts = listMounted(store).map(({ label, tag, mountpoint, readOnly }) => {
    const at = toUser(mountpoint)
    return { label, tag, at: path.relative(folder, at), readOnly, files: readFiles(at) }
  })
  const { commits, objects } = listContents(store.path)
  const left = fs.readdirSync(path.join(store.path, 'staging'))
  const findings = settled
    .filter(({ finding }) => finding.kind !== 'foreign')
    .map(({ finding }) => `${finding.kind} ${finding.message}`)
  const stored = scene.savesHalf ? undefined : { commits: commits.length, objects }
  return { labels, mounts, stored, unused, left, findings, also: scene.also?.(lab) }
}

async function filesOf({ context }: Lab, reference: string): Promise<string[]> {
  const entries = await listEntries(context, parseReference(reference), '', true)
  return entries.map(
    ({ path, entry: { mode, size, digest } }) =>
      `${path} ${mode.toString(8)} ${mode >> 12 === 4 ? '' : size} ${digest ?? ''}`,
  )
}

/** All at once, as the tests make many labs. */
function clearAway({ folder }: Lab): void {
  for (const { mountpoint } of readMounts().reverse())
    if (mountpoint.startsWith(`${folder}/`)) unmount(mountpoint, 'detach')
  spawnSync('chattr', ['-R', '-f', '-i', folder])
  if (folder.startsWith(os.tmpdir())) fs.rmSync(folder, { recursive: true, force: true })
}
