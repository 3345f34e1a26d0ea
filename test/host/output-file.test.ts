import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, test } from 'node:test'
import { armFaults } from '../../src/host/faults.ts'
import { createOutputFile } from '../../src/host/output-file.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'output-'))
const target = path.join(folder, 'target')
const NO_FAULT = 'none@0'

/** Writes the target; `faults` fail when the file is made and when it gets its name. */
function write(
  text: string,
  replace: boolean,
  [making, naming]: readonly [string, string] = [NO_FAULT, NO_FAULT],
): void {
  armFaults(making)
  using file = createOutputFile(target, { replace })
  fs.writeSync(file.descriptor, text)
  assert.ok(!fs.existsSync(target) || fs.readFileSync(target, 'utf8') !== text, 'it is there before it is whole')
  armFaults(naming)
  file.publish()
}

afterEach(() => {
  armFaults(NO_FAULT)
  for (const name of fs.readdirSync(folder)) fs.rmSync(path.join(folder, name))
})

/** The first step of making is to make a file without a name; the second step of naming, behind fsync, is to give it its own. */
const FILE_SYSTEMS: Readonly<Record<string, readonly [string, string]>> = {
  'that has files without names': [NO_FAULT, NO_FAULT],
  'without such files': ['EOPNOTSUPP@1', NO_FAULT],
  'without such files and without exclusive renames (NFS)': ['EOPNOTSUPP@1', 'EINVAL@2'],
}

for (const [name, faults] of Object.entries(FILE_SYSTEMS))
  test(`on a file system ${name} a file is there whole, replaces only when asked to, and leaves nothing beside it`, () => {
    write('first', false, faults)
    assert.equal(fs.readFileSync(target, 'utf8'), 'first')
    assert.throws(() => write('second', false, faults), { code: 'EEXIST' })
    assert.equal(fs.readFileSync(target, 'utf8'), 'first')
    write('third', true, [faults[0], NO_FAULT])
    assert.equal(fs.readFileSync(target, 'utf8'), 'third')
    assert.deepEqual(fs.readdirSync(folder), ['target'])
  })

test('whatever fails on the way, nothing half is left', () => {
  for (const making of [NO_FAULT, 'EOPNOTSUPP@1'])
    for (let step = 1; step <= 6; step++) {
      let failed = false
      try {
        write('text', false, [making, `ENOSPC@${step}`])
      } catch (error) {
        assert.equal((error as { code: string }).code, 'ENOSPC')
        failed = true
      }
      const names = fs.readdirSync(folder)
      assert.ok(names.length === 0 ? failed : names.join() === 'target', names.join())
      if (names.length > 0) assert.equal(fs.readFileSync(target, 'utf8'), 'text')
      fs.rmSync(target, { force: true })
    }
})

test('what a dead process left is cleared away by the next one; what a living one writes is not', () => {
  const [dead, foreign] = ['.stratum-export-0123456789abcdef', '.stratum-export-mine'].map(name =>
    path.join(folder, name),
  )
  fs.writeFileSync(dead, 'left')
  fs.writeFileSync(foreign, 'not of ours')
  execFileSync('mkfifo', [path.join(folder, '.stratum-export-ffffffffffffffff')])
  fs.symlinkSync('nowhere', path.join(folder, '.stratum-export-eeeeeeeeeeeeeeee'))
  armFaults('EOPNOTSUPP@2') // the first step clears away
  using living = createOutputFile(target, { replace: false })
  armFaults(NO_FAULT)
  assert.ok(!fs.existsSync(dead))
  assert.equal(fs.readdirSync(folder).length, 4)
  using _other = createOutputFile(path.join(folder, 'other'), { replace: false })
  assert.equal(fs.readdirSync(folder).length, 4)
  living.publish()
  assert.ok(fs.existsSync(foreign) && fs.existsSync(target))
})
