import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { attachMount, createMount, dropCaches, unmountAside } from '../../src/host/mount-api.ts'
import { readMounts } from '../../src/host/mountinfo.ts'

function mountHere(name: string): string {
  const place = path.join(fs.realpathSync(os.tmpdir()), name)
  fs.mkdirSync(place)
  const mount = createMount('tmpfs', [['size', '1m']], 0)
  attachMount(mount, place)
  fs.closeSync(mount)
  return place
}

const mountAt = (place: string): string | undefined =>
  readMounts()
    .filter(({ mountpoint }) => mountpoint === place)
    .map(({ superOptions, options }) => [...options, ...superOptions].join())
    .join('|') || undefined

test('unmounting aside takes a mount away, and says no where somebody uses it', async () => {
  const place = mountHere('aside')
  const file = fs.openSync(`${place}/held`, 'w')
  assert.equal(await unmountAside(place), false)
  assert.notEqual(mountAt(place), undefined)
  fs.closeSync(file)
  assert.equal(await unmountAside(place), true)
  assert.equal(mountAt(place), undefined)
})

test('dropping the caches of a mount changes nothing about it, and one that is missing is no failure', async () => {
  const place = mountHere('caches')
  const before = mountAt(place)
  const file = fs.openSync(`${place}/held`, 'w')
  fs.writeSync(file, 'before ')
  await dropCaches(place)
  fs.writeSync(file, 'after')
  fs.closeSync(file)
  assert.equal(fs.readFileSync(`${place}/held`, 'utf8'), 'before after')
  assert.equal(mountAt(place), before)
  assert.equal(await unmountAside(place), true)
  await dropCaches(place)
  await dropCaches(`${place}/missing`)
})
