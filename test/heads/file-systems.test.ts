import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { createLab } from '../support/lab.ts'
import { shell } from '../support/user.ts'

/** What file systems do differently must not show: XFS moves the mtime of a directory that gets another parent by an exchange. */
const scratch = fs.realpathSync(os.tmpdir())

for (const kind of ['ext4', 'xfs', 'btrfs'])
  test(`a new base below HEAD changes nothing in it on ${kind}, on the fly or later`, async () => {
    const place = path.join(scratch, kind)
    fs.mkdirSync(place)
    shell('truncate', '-s', '400M', `${place}.image`)
    shell(`mkfs.${kind}`, '-q', `${place}.image`)
    shell('mount', '-o', 'loop', `${place}.image`, place)
    process.env.TMPDIR = place
    const lab = await createLab({ 'd/a': 'a'.repeat(100), b: 'b'.repeat(100) })
    process.env.TMPDIR = scratch
    const isUnchanged = async (expected: string): Promise<void> => {
      const { commit, unchanged } = await lab.commit()
      assert.deepEqual([commit.metadata.id, unchanged], [expected, true])
    }
    await lab.mount()
    fs.appendFileSync(path.join(lab.head, 'd/a'), 'more')
    const first = await lab.commit({ consistency: 'idle' })
    assert.equal(first.remounted.how, 'swapped')
    await isUnchanged(first.commit.metadata.id)
    fs.renameSync(path.join(lab.head, 'd'), path.join(lab.head, 'e'))
    await lab.unmount()
    const second = await lab.commit()
    assert.equal(second.remounted.how, 'folded')
    await isUnchanged(second.commit.metadata.id)
    await lab.mount()
    await isUnchanged(second.commit.metadata.id)
    assert.equal(await lab.import(lab.head, 'again'), second.commit.metadata.id)
    await lab.unmount()
    shell('umount', place)
  })
