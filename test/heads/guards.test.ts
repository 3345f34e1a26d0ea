import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { captureHead } from '../../src/heads/capture-head.ts'
import type { CaptureSession } from '../../src/heads/capture-session.ts'
import { type Remounted, remountHead } from '../../src/heads/remount.ts'
import { unmount } from '../../src/host/mount-api.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { startActor } from '../support/actor.ts'
import { createLab, LABEL, type Lab } from '../support/lab.ts'

/** What must hold between the steps of a commit: each of these lost a write, or hit a stranger's mount, before it was forbidden. */
const FILES = { 'd/file': 'base '.repeat(100), other: 'other' }

/** A commit of HEAD during whose last part, when it is read and before it is re-mounted, something else happens. */
async function commitWhile(
  lab: Lab,
  happens: () => void,
  change: (session: CaptureSession) => CaptureSession = session => session,
): Promise<{ remounted: Remounted; id: string }> {
  let remounted: Remounted | undefined
  const options = { consistency: 'live', maxPauseMs: 5000, deadlineMs: 5000, freezers: undefined } as const
  const rest = { message: undefined, author: undefined, allowUnclean: false, signal: undefined }
  const { commit } = await captureHead(
    lab.store,
    LABEL,
    lab.record(),
    { ...options, ...rest },
    async ({ commit: { metadata }, scan }, session) => {
      happens()
      const to = { to: metadata.id, lastCommit: metadata.id }
      remounted = await remountHead(lab.store, LABEL, { ...to, scan, session: change(session), ...options })
    },
  )
  return { remounted: remounted as Remounted, id: commit.metadata.id }
}

test('what is written, and the mount taken away, between reading and folding is not folded away', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'early'), 'in the commit')
  const { remounted } = await commitWhile(lab, () => {
    fs.writeFileSync(path.join(lab.head, 'late'), 'after the last look')
    unmount(lab.head)
  })
  assert.equal(remounted.how, 'later')
  await lab.mount()
  assert.equal(fs.readFileSync(path.join(lab.head, 'late'), 'utf8'), 'after the last look')
})

test('what is written between reading and re-mounting keeps the mount from being exchanged', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'early'), 'in the commit')
  const { remounted } = await commitWhile(lab, () => fs.appendFileSync(path.join(lab.head, 'd/file'), 'late'))
  assert.equal(remounted.how, 'later')
  assert.match(fs.readFileSync(path.join(lab.head, 'd/file'), 'utf8'), /late$/)
  fs.writeFileSync(path.join(lab.head, 'and more'), 'still writable')
})

test('so many files written between reading and re-mounting that threads read them are only read later, too', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  const writeMany = (text: string): void => {
    for (let i = 0; i < 300; i++) fs.writeFileSync(path.join(lab.head, `many-${i}`), `${text} ${i} `.repeat(20))
  }
  writeMany('early')
  const { remounted } = await commitWhile(lab, () => writeMany('late'))
  assert.equal(remounted.how, 'later')
  fs.writeFileSync(path.join(lab.head, 'new'), 'still writable')
  const { commit } = await lab.commit()
  assert.equal(await lab.import(lab.head, 'again'), commit.metadata.id)
})

test('HEAD is writable again when a re-mount fails in the middle, and nothing says that it stands still', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'early'), 'in the commit')
  const failing = (session: CaptureSession): CaptureSession => ({
    ...session,
    scan: () => Promise.reject(new Error('the disk broke')),
  })
  await assert.rejects(
    commitWhile(lab, () => undefined, failing),
    /the disk broke/,
  )
  fs.writeFileSync(path.join(lab.head, 'late'), 'still writable')
  const { remounted } = await lab.commit()
  assert.equal(remounted.how, 'swapped')
  assert.equal(lab.record().still, undefined)
})

test('idle is refused for a HEAD that another mount namespace writes to', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  await using other = await startActor({ ownNamespace: true })
  unmount(lab.head)
  await other.run(`open(${JSON.stringify(path.join(lab.head, 'there'))}, 'w').write('from there')`)
  await assert.rejects(lab.commit({ consistency: 'idle' }), /writers cannot be kept out/)
  const { remounted } = await lab.commit({ consistency: 'live' })
  assert.equal(remounted.how, 'later')
  await other.stop()
  await lab.mount()
  assert.equal(fs.readFileSync(path.join(lab.head, 'there'), 'utf8'), 'from there')
})

test('idle is refused for a HEAD that somebody holds after its unmount', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  await using holder = await startActor()
  await holder.run(`fd = os.open(${JSON.stringify(path.join(lab.head, 'd/file'))}, os.O_RDWR)`)
  unmount(lab.head, 'detach')
  await assert.rejects(lab.commit({ consistency: 'idle' }), /writers cannot be kept out/)
  await lab.commit()
  await holder.run(`os.pwrite(fd, b'AFTER', 0)`)
  await holder.stop()
  await lab.mount()
  assert.match(fs.readFileSync(path.join(lab.head, 'd/file'), 'utf8'), /^AFTER/)
})

test('a file system that is mounted over HEAD is left alone', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'below'), 'in HEAD')
  execFileSync('mount', ['-t', 'tmpfs', 'above', lab.head])
  const above = path.join(lab.head, 'above')
  fs.writeFileSync(above, 'above HEAD')
  await assert.rejects(lab.commit({ consistency: 'idle' }), /under another mount/)
  const { remounted } = await lab.commit()
  assert.deepEqual(remounted, { how: 'later', why: 'something else is mounted over it' })
  await assert.rejects(lab.unmount(), /something else is mounted over app/)
  fs.writeFileSync(above, 'still writable')
  unmount(lab.head)
  assert.equal(fs.readFileSync(path.join(lab.head, 'below'), 'utf8'), 'in HEAD')
})

test('the attributes that the user gave to the mount outlive a re-mount', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  execFileSync('mount', ['-o', 'remount,bind,noexec,noatime,nosymfollow,nosuid,nodev', lab.head])
  const optionsOfHead = (): string[] =>
    [...(readMounts().find(({ mountpoint }) => mountpoint === lab.head)?.options ?? [])].sort()
  const before = optionsOfHead()
  assert.ok(before.includes('noexec') && before.includes('noatime'), before.join())
  fs.writeFileSync(path.join(lab.head, 'new'), 'new')
  assert.equal((await lab.commit()).remounted.how, 'swapped')
  assert.deepEqual(optionsOfHead(), before)
})

test('a HEAD that is mounted read-only stays so through a re-mount', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'new'), 'new')
  unmount(lab.head)
  await lab.mount('app', lab.head, { readOnly: true })
  assert.equal((await lab.commit()).remounted.how, 'swapped')
  assert.throws(() => fs.writeFileSync(path.join(lab.head, 'more'), ''), { code: 'EROFS' })
  assert.equal(fs.readFileSync(path.join(lab.head, 'new'), 'utf8'), 'new')
})

test('one HEAD has one mount, also where the first one cannot be seen', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  await assert.rejects(lab.mount('app', lab.makeFolder('second')), /one HEAD has one mount/)
  await using other = await startActor({ ownNamespace: true })
  unmount(lab.head)
  await assert.rejects(lab.mount(), /still mounted somewhere that is not seen from here/)
  await other.stop()
  await lab.mount()
})

test('an upperdir over another base is refused', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'new'), 'new')
  await lab.unmount()
  const text = fs.readFileSync(path.join(lab.paths.label, 'head.toml'), 'utf8')
  const empty = lab.makeFolder('empty')
  const otherBase = await lab.import(empty)
  fs.writeFileSync(
    path.join(lab.paths.label, 'head.toml'),
    text.replace(/base_commit = "[0-9a-f]+"/, `base_commit = "${otherBase}"`),
  )
  await assert.rejects(lab.mount(), /head\/ of app belongs to base/)
  await assert.rejects(lab.commit(), /head\/ of app belongs to base/)
})

test('HEAD is folded onto its last commit when it is unmounted, if nothing has to be read for that', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'new'), 'new '.repeat(100))
  fs.mkdirSync(path.join(lab.head, 'kept'))
  await using holder = await startActor()
  await holder.run(`os.chdir(${JSON.stringify(path.join(lab.head, 'kept'))})`)
  const { remounted, commit } = await lab.commit()
  assert.equal(remounted.how, 'later')
  await holder.stop()
  assert.equal((await lab.unmount()).folded, true)
  assert.equal(lab.record().base, commit.metadata.id)
  assert.deepEqual(fs.readdirSync(lab.paths.upper), [])
})

test('HEAD is not folded when it is unmounted with changes, or with files that nobody remembers', async () => {
  const lab = await createLab(FILES)
  for (const change of ['small', 'large '.repeat(100)]) {
    await lab.mount()
    fs.writeFileSync(path.join(lab.head, 'new'), 'new '.repeat(100) + change.length)
    await using holder = await startActor()
    await holder.run(`os.chdir(${JSON.stringify(lab.head)})`)
    assert.equal((await lab.commit()).remounted.how, 'later')
    fs.writeFileSync(path.join(lab.head, 'later'), change)
    await holder.stop()
    assert.equal((await lab.unmount()).folded, false)
  }
  await lab.mount()
  assert.match(fs.readFileSync(path.join(lab.head, 'later'), 'utf8'), /^large/)
})
