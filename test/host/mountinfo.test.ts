import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { parseMountInfo, readMounts } from '../../src/host/mountinfo.ts'

test('each field is where proc_pid_mountinfo(5) says, whatever optional ones there are', () => {
  const rest = ' - ext3 /dev/root rw,errors=continue\n'
  for (const optional of ['', ' master:1', ' shared:7 master:1 propagate_from:2', ' unbindable']) {
    const [mount] = parseMountInfo(`36 35 98:0 /mnt1 /mnt2 rw,noatime${optional}${rest}`)
    assert.deepEqual(mount, {
      id: 36,
      parent: 35,
      device: '98:0',
      root: '/mnt1',
      mountpoint: '/mnt2',
      options: ['rw', 'noatime'],
      type: 'ext3',
      source: '/dev/root',
      superOptions: ['rw', 'errors=continue'],
    })
  }
})

test('spaces, tabs, newlines and backslashes in paths are what they were', () => {
  const line = String.raw`1 2 0:3 /a\040b /c\011d\012e\134f\134040g rw - overlay stratum:x@y\040\043 rw`
  const [mount] = parseMountInfo(line)
  assert.equal(mount.root, '/a b')
  assert.equal(mount.mountpoint, '/c\td\ne\\f\\040g')
  assert.equal(mount.source, 'stratum:x@y #')
})

test('any bytes in paths survive the form that the kernel gives them', () => {
  const kernel = (text: string): string =>
    text.replace(/[ \t\n\\#]/g, character => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`)
  const bytes = fc.uint8Array({ min: 1, max: 255, minLength: 1 }).map(array => Buffer.from(array).toString('latin1'))
  fc.assert(
    fc.property(bytes, bytes, bytes, (root, mountpoint, source) => {
      const text = `1 2 0:3 ${kernel(root)} ${kernel(mountpoint)} rw shared:1 - tmpfs ${kernel(source)} rw,size=1k\n`
      const [mount, ...others] = parseMountInfo(text)
      assert.deepEqual([mount.root, mount.mountpoint, mount.source], [root, mountpoint, source])
      assert.deepEqual([mount.type, mount.superOptions, others], ['tmpfs', ['rw', 'size=1k'], []])
    }),
  )
})

test('a dash in a path or source does not end the optional fields', () => {
  const [mount] = parseMountInfo('1 2 0:3 - - rw shared:1 - tmpfs - rw\n')
  assert.deepEqual([mount.root, mount.mountpoint, mount.type, mount.source], ['-', '-', 'tmpfs', '-'])
})

test('a mount without a source has an empty one', () => {
  const [mount] = parseMountInfo('1 2 0:3 / /x rw - tmpfs  rw\n')
  assert.deepEqual([mount.source, mount.superOptions], ['', ['rw']])
})

test('the mounts of this process are read, the root among them', () => {
  const mounts = readMounts()
  assert.ok(mounts.some(({ mountpoint }) => mountpoint === '/'))
  assert.ok(mounts.every(({ id, device, type }) => Number.isInteger(id) && /^\d+:\d+$/.test(device) && type !== ''))
})
