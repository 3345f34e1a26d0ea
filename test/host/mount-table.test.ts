import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { mountTable, readMounts } from '../../src/host/mountinfo.ts'
import {
  ATTRIBUTE,
  attachMount,
  cloneMount,
  createMount,
  setMountAttributes,
  unmount,
} from '../../src/host/mount-api.ts'
import { close } from '../../src/host/descriptors.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mount-table-'))
const at = (name: string): string => {
  fs.mkdirSync(`${folder}/${name}`, { recursive: true })
  return `${folder}/${name}`
}
const mountTmpfs = (name: string): void => {
  const mount = createMount('tmpfs', [], 0)
  attachMount(mount, at(name))
  close(mount)
}

/** Each must be seen by a table that was read just before. */
const changes: [string, () => void][] = [
  ['a mount', () => mountTmpfs('a')],
  ['a mount over another', () => mountTmpfs('a')],
  ['an unmount', () => unmount(`${folder}/a`)],
  [
    'a mount beneath another, and the top one gone',
    () => {
      const mount = createMount('tmpfs', [], 0)
      attachMount(mount, `${folder}/a`, true)
      close(mount)
      unmount(`${folder}/a`)
    },
  ],
  [
    'a bind mount, by descriptor',
    () => {
      const mount = cloneMount(`${folder}/a`)
      attachMount(mount, at('b'))
      close(mount)
    },
  ],
  ['a bind mount, by program', () => void execFileSync('mount', ['--bind', `${folder}/a`, at('c')])],
  ['a move', () => void execFileSync('mount', ['--move', `${folder}/c`, at('d')])],
  ['a mount that is made read-only', () => void execFileSync('mount', ['-o', 'remount,bind,ro', `${folder}/d`])],
  [
    'a file system that is made read-only by mount(8)',
    () => void execFileSync('mount', ['-o', 'remount,ro', `${folder}/a`]),
  ],
  [
    'attributes by descriptor',
    () => {
      const mount = fs.openSync(`${folder}/b`, 'r')
      setMountAttributes(mount, ATTRIBUTE.noSuid)
      fs.closeSync(mount)
    },
  ],
  ['a lazy unmount', () => unmount(`${folder}/b`, 'detach')],
  ['what another process does', () => void execFileSync('mount', ['-t', 'tmpfs', 'none', at('e')])],
]
for (const [what, change] of changes)
  test(`the table shows ${what}`, () => {
    assert.deepEqual(mountTable(), readMounts())
    const before = mountTable()
    assert.equal(mountTable(), before, 'read anew though nothing changed')
    change()
    assert.notDeepEqual(readMounts(), before, 'this changed nothing')
    assert.deepEqual(mountTable(), readMounts())
  })
