import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parseReference } from '../../src/names/reference.ts'
import { fromUser } from '../../src/names/text.ts'
import { applyCommit } from '../../src/repository/apply.ts'
import { createLab, type Lab } from '../support/lab.ts'

const FILES = { 'd/file': 'in the directory', file: 'at the root' }

/** HEAD, of which only the directory `d` is still mounted, where somebody bound it. */
async function bindDirectory(lab: Lab): Promise<string> {
  const bound = lab.makeFolder('bound')
  await lab.mount()
  execFileSync('mount', ['--bind', path.join(lab.head, 'd'), bound])
  execFileSync('umount', [lab.head])
  return bound
}

test('a commit does not put the whole tree in the place of a directory of it that was bound', async () => {
  const lab = await createLab(FILES)
  const bound = await bindDirectory(lab)
  fs.writeFileSync(path.join(bound, 'new'), 'written there')
  const { remounted } = await lab.commit()
  assert.equal(remounted.how, 'later')
  assert.deepEqual(fs.readdirSync(bound), ['file', 'new'])
  assert.equal(fs.readFileSync(path.join(bound, 'file'), 'utf8'), 'in the directory')
  execFileSync('umount', [bound])
  await lab.mount()
  assert.equal(fs.readFileSync(path.join(lab.head, 'd/new'), 'utf8'), 'written there')
})

test('apply does not take a directory that was bound for the whole tree', async () => {
  for (const over of [false, true]) {
    const lab = await createLab(FILES)
    const bound = over ? lab.head : await bindDirectory(lab)
    if (over) {
      await lab.mount()
      execFileSync('mount', ['--bind', path.join(lab.head, 'd'), lab.head])
    }
    fs.writeFileSync(path.join(bound, 'file'), 'changed')
    const reference = parseReference(`app:${lab.record().base}`)
    await assert.rejects(
      applyCommit(lab.context, { reference, mountpoint: fromUser(bound), path: undefined, save: true }),
      /only a directory of HEAD of app is mounted/,
    )
    assert.deepEqual(fs.readdirSync(bound), ['file'])
    assert.equal(fs.readFileSync(path.join(bound, 'file'), 'utf8'), 'changed')
  }
})

test('a commit from inside a container does not leave the mount outside of it read-only', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'new'), 'new')
  const binary = path.resolve(import.meta.dirname, '../../bin/stratum')
  const inside = ['--pid', '--fork', '--mount-proc', '--propagation', 'private', binary, 'commit', 'app', '--json']
  const env = { ...process.env, STRATUM_STORE: path.join(lab.folder, 'store') }
  const { remounted } = JSON.parse(execFileSync('unshare', inside, { env, encoding: 'utf8' }))
  assert.deepEqual(remounted, { how: 'later', why: 'processes outside of this container may use it' })
  fs.writeFileSync(path.join(lab.head, 'later'), 'still writable')
})
