import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setModificationTime } from '../../src/host/files.ts'
import { libc } from '../../src/host/libc.ts'
import { statPath } from '../../src/host/stat.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'stat-'))
const mknod = libc.func('int mknod(void *path, unsigned int mode, uint64_t device)')

test('device numbers are those that the kernel encodes, up to the last bit', () => {
  for (const device of [0x103, 0xfffff, 0x80000000, 0x12345678, 0xfff00fff, 0xffffffff]) {
    const name = path.join(folder, device.toString(16))
    assert.equal(mknod(Buffer.from(`${name}\0`), 0o060600, device), 0)
    assert.equal(statPath(name).device, device)
  }
})

test('times before 1970 and far from now are exact', () => {
  const name = path.join(folder, 'file')
  fs.writeFileSync(name, '')
  for (const [seconds, nanoseconds] of [
    [0, 0],
    [-1, 999_999_999],
    [-(2 ** 31), 0],
    [2 ** 33, 1],
  ]) {
    setModificationTime(name, seconds, nanoseconds)
    const { mtimeSeconds, mtimeNanoseconds } = statPath(name)
    assert.deepEqual([mtimeSeconds, mtimeNanoseconds], [seconds, nanoseconds])
  }
})
