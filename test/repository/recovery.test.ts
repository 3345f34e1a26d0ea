import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { headMounts } from '../../src/heads/head-mounts.ts'
import { inspectRecords, runFolder } from '../../src/mounts/records.ts'
import { runCli } from '../support/cli.ts'
import { createLab, LABEL, type Lab } from '../support/lab.ts'

/** What is mounted is what the kernel says; /run/stratum/state only adds to it. */
const FILES = { 'd/file': 'base', other: 'other' }
const STATE = `${runFolder()}/state`

interface Status {
  readonly mounts: readonly { readonly mountpoint: string; readonly label: string }[]
}

async function mountpoints(lab: Lab): Promise<string[]> {
  const { stdout, stderr, status } = await runCli(lab, ['status', '--json'])
  assert.equal(status, 0, stderr)
  return (JSON.parse(stdout) as Status).mounts.map(({ mountpoint }) => mountpoint).sort()
}

test('a plain umount is noticed: status shows nothing, the label can be mounted and removed', async () => {
  const lab = await createLab(FILES)
  const old = lab.makeFolder('old')
  await lab.tag(`app:${(await lab.mount()).commit}`, 'v1')
  await lab.mount('app:v1', old)
  assert.deepEqual(await mountpoints(lab), [lab.head, old].sort())
  fs.writeFileSync(path.join(lab.head, 'written'), 'kept')
  execFileSync('umount', [lab.head])
  execFileSync('umount', [old])
  assert.deepEqual(await mountpoints(lab), [])
  const gone = await runCli(lab, ['unmount', 'app'])
  assert.equal(gone.status, 4, gone.stderr)
  await lab.mount()
  assert.equal(fs.readFileSync(path.join(lab.head, 'written'), 'utf8'), 'kept')
  execFileSync('umount', [lab.head])
  assert.equal((await runCli(lab, ['remove', 'app', '--yes'])).status, 0)
})

test('with /run lost, mounts are found again, and commit and unmount work', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'written'), 'kept')
  for (const lose of [() => fs.rmSync(STATE), () => fs.writeFileSync(STATE, 'no JSON\n{"key":1}\n{"key":"x"')]) {
    lose()
    assert.deepEqual(await mountpoints(lab), [lab.head])
    const { commit } = await lab.commit()
    const made = lab.makeFolder(commit.metadata.id)
    await lab.mount(`app:${commit.metadata.id}`, made)
    assert.equal(fs.readFileSync(path.join(made, 'written'), 'utf8'), 'kept')
    assert.equal((await runCli(lab, ['unmount', made])).status, 0)
  }
  fs.rmSync(STATE)
  assert.equal((await runCli(lab, ['unmount', 'app'])).status, 0)
  assert.deepEqual(headMounts(lab.store, LABEL), [])
})

test('a mount that was killed between its record and the kernel is no mount', async () => {
  const lab = await createLab(FILES)
  for (let at = 1; ; at++) {
    const { status } = await runCli(lab, ['mount', 'app', lab.head], { STRATUM_FAULT: `kill@${at}` })
    if (status === 0) break
    assert.equal(status, null)
    const shown = await mountpoints(lab)
    const kernel = fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    assert.deepEqual(
      shown,
      kernel.flatMap(line => (line.split(' ')[4] === lab.head ? [lab.head] : [])),
      `killed at ${at}`,
    )
    if (shown.length > 0) assert.equal((await runCli(lab, ['unmount', 'app'])).status, 0)
    assert.ok(at < 200)
  }
  assert.deepEqual(await mountpoints(lab), [lab.head])
  assert.equal((await runCli(lab, ['unmount', 'app'])).status, 0)
  const { records } = await inspectRecords()
  assert.deepEqual(
    records.filter(({ mountpoint }) => mountpoint === lab.head),
    [],
  )
})

test('mount(8), and with it fstab, mounts HEAD and tags', async () => {
  const lab = await createLab(FILES)
  const helper = path.resolve(import.meta.dirname, '../../bin/mount.stratum')
  const [upper, work] = [lab.makeFolder('sbin'), lab.makeFolder('sbin-work')]
  fs.symlinkSync(helper, path.join(upper, 'mount.stratum'))
  const sbin = fs.realpathSync('/sbin')
  execFileSync('mount', ['-t', 'overlay', '-o', `lowerdir=${sbin},upperdir=${upper},workdir=${work}`, 'sbin', sbin])
  const store = `store=${path.join(lab.folder, 'store')}`
  lab.makeFolder('head')
  const fstab = path.join(lab.folder, 'fstab')
  fs.writeFileSync(fstab, `app ${lab.head} stratum defaults,nofail,x-systemd.automount,${store} 0 0\n`)
  execFileSync('mount', ['-T', fstab, lab.head], { stdio: 'pipe' })
  fs.writeFileSync(path.join(lab.head, 'written'), 'by mount(8)')
  assert.deepEqual(await mountpoints(lab), [lab.head])
  await lab.commit({ name: 'v1' })
  const old = lab.makeFolder('old')
  execFileSync('mount', ['-t', 'stratum', '-o', `ro,${store}`, 'app:v1', old], { stdio: 'pipe' })
  assert.equal(fs.readFileSync(path.join(old, 'written'), 'utf8'), 'by mount(8)')
  assert.throws(
    () =>
      execFileSync('mount', ['-t', 'stratum', '-o', `compress=zstd,${store}`, 'app:v1', lab.makeFolder('x')], {
        stdio: 'pipe',
      }),
    /the option compress=zstd is not known/,
  )
  assert.throws(
    () => execFileSync('mount', ['-t', 'stratum', '-o', store, 'app:v9', lab.makeFolder('x')], { stdio: 'pipe' }),
    /app:v9 does not exist|v9/,
  )
  for (const at of [old, lab.head, sbin]) execFileSync('umount', [at])
})
