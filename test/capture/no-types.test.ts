import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { openDirectory, readDirectory, close } from '../../src/host/descriptors.ts'
import { newStore } from '../support/imported.ts'
import { importAndCompare } from '../support/kept.ts'
import { createRandom } from '../support/random.ts'
import { fillDirectory } from '../support/real-tree.ts'

/** An ext4 whose directories do not say what their names are. */
function mountWithoutTypes(folder: string): string {
  const [device, mountpoint] = [path.join(folder, 'device'), path.join(folder, 'mounted')]
  fs.writeFileSync(device, '')
  fs.truncateSync(device, 64 << 20)
  execFileSync('mkfs.ext4', ['-q', '-b', '4096', '-O', '^filetype', device])
  fs.mkdirSync(mountpoint)
  execFileSync('mount', ['-o', 'loop', device, mountpoint])
  return mountpoint
}

test('a file system that tells no types of names is imported with all its directories', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'no-types-'))
  const mounted = mountWithoutTypes(folder)
  const directory = path.join(mounted, 'tree')
  fs.mkdirSync(directory)
  fillDirectory(createRandom(5), directory, { names: 150, oldest: 0, newest: 2 ** 31 })
  const descriptor = openDirectory(directory)
  assert.ok(
    readDirectory(descriptor).every(({ type }) => type === 0),
    'this file system tells types after all',
  )
  close(descriptor)
  const { commit, verified } = await importAndCompare(newStore(), 'tree', directory)
  assert.deepEqual(commit.unstable, [])
  assert.ok(verified.directories > 10)
  execFileSync('umount', [mounted])
})
