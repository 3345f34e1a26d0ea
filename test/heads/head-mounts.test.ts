import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { headMounts } from '../../src/heads/head-mounts.ts'
import { createLab, LABEL } from '../support/lab.ts'

/** Changes a superblock and nothing else, in a process of its own: the kernel tells nobody of it. */
function setReadOnlyElsewhere(mountpoint: string, readOnly: boolean): void {
  const module = path.resolve(import.meta.dirname, '../../src/host/mount-api.ts')
  const program = `(await import(${JSON.stringify(module)})).setSuperblockReadOnly(${JSON.stringify(mountpoint)}, ${readOnly})`
  execFileSync(process.execPath, ['--input-type=module', '-e', program])
}

test('a HEAD is found where it is, however it came there', async () => {
  const lab = await createLab({ file: 'text' })
  const places = (): string[] => headMounts(lab.store, LABEL).map(({ mountpoint }) => mountpoint)
  assert.deepEqual(places(), [])
  const above = lab.makeFolder('above')
  const first = path.join(above, 'head')
  await lab.mount('app', first)
  assert.deepEqual(places(), [first])
  fs.renameSync(above, path.join(lab.folder, 'renamed'))
  const second = path.join(lab.folder, 'renamed', 'head')
  assert.deepEqual(places(), [second], 'a directory above was renamed')
  execFileSync('mount', ['--bind', second, lab.makeFolder('bound')])
  assert.deepEqual(places(), [second, path.join(lab.folder, 'bound')])
  execFileSync('mount', ['-t', 'tmpfs', 'none', second])
  assert.deepEqual(places(), [second, path.join(lab.folder, 'bound')], 'something is mounted over it')
  execFileSync('umount', [second])
  execFileSync('umount', [path.join(lab.folder, 'bound')])
  await lab.unmount()
  assert.deepEqual(places(), [])
})

test('a superblock that another process makes read-only, and writable again, is seen to be that', async () => {
  const lab = await createLab({ file: 'text' })
  await lab.mount()
  const isReadOnly = (): boolean[] => headMounts(lab.store, LABEL).map(({ readOnly }) => readOnly)
  assert.deepEqual(isReadOnly(), [false])
  setReadOnlyElsewhere(lab.head, true)
  assert.deepEqual(isReadOnly(), [true])
  setReadOnlyElsewhere(lab.head, false)
  assert.deepEqual(isReadOnly(), [false])
  await lab.unmount()
})
