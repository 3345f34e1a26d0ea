import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { headMounts } from '../../src/heads/head-mounts.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { parseLabel } from '../../src/names/label.ts'
import { parseTag } from '../../src/names/tag.ts'
import { commitHead } from '../../src/repository/commit.ts'
import { createLab } from '../support/lab.ts'

const TAG = 't'.repeat(128)
const LIVE = {
  consistency: 'live',
  maxPauseMs: 5000,
  deadlineMs: 60_000,
  freezers: undefined,
  allowUnclean: false,
  message: undefined,
} as const

test('a label may be as long as a name of a file', async () => {
  const lab = await createLab()
  const label = `${'a'.repeat(100)}/${'b'.repeat(152)}` // 255 bytes with its slash as three
  const source = lab.makeFolder('source')
  fs.writeFileSync(path.join(source, 'file'), 'text '.repeat(100))
  const id = await lab.import(source, label)
  assert.equal(await lab.import(source, label), id)
  const { mountpoint } = await lab.mount(label)
  assert.equal(fs.readFileSync(path.join(mountpoint, 'file'), 'utf8'), 'text '.repeat(100))
  fs.writeFileSync(path.join(mountpoint, 'new'), 'new')
  const { commit } = await commitHead(lab.context, { ...LIVE, label: parseLabel(label), tag: parseTag(TAG) })
  assert.match(readMounts().find(mount => mount.mountpoint === mountpoint)?.source ?? '', /^stratum:~/)
  assert.deepEqual(
    headMounts(lab.store, parseLabel(label)).map(mounted => mounted.mountpoint),
    [mountpoint],
  )
  await lab.mount(`${label}:${TAG}`, lab.makeFolder('by tag'))
  await lab.tag(`${label}:${TAG}`, 'short')
  assert.equal(await lab.import(path.join(lab.folder, 'by tag'), 'again'), commit.metadata.id)
  await assert.rejects(lab.mount(label, lab.makeFolder('twice')), /is mounted at/)
  await lab.unmount(label)
})

test('a tag may be as long as it is allowed to be, and is left out of what the mount says of itself', async () => {
  const lab = await createLab({ file: 'text' })
  await lab.tag(`app:${(await lab.mount()).commit}`, TAG)
  const { tag, mountpoint } = await lab.mount(`app:${TAG}`, lab.makeFolder('by tag'))
  assert.equal(tag, TAG)
  assert.equal(fs.readFileSync(path.join(mountpoint, 'file'), 'utf8'), 'text')
  await lab.unmount(mountpoint)
})
