import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { LayerScan, ScannedNode } from '../../src/capture/scan-layer.ts'
import { noteBoot, suspiciousFiles, withoutDoubt } from '../../src/heads/unclean.ts'
import { bootId } from '../../src/host/boot.ts'
import { unmount } from '../../src/host/mount-api.ts'
import type { HeadRecord } from '../../src/refs/head-file.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { createLab, type Lab } from '../support/lab.ts'

const SECOND = 1_000_000_000n

/** An upperdir of regular files by their ctime in seconds and size. */
function scanOf(files: Readonly<Record<string, readonly [ctime: number, size: number]>>): LayerScan {
  const content = { size: 0, digest: undefined, data: '' }
  const node = (mode: number, ctime: number, size: number): ScannedNode =>
    ({ stat: { mode, ctime: BigInt(ctime) * SECOND, size, blocks: 8 }, xattrs: [], content }) as unknown as ScannedNode
  const children = new Map(
    Object.entries(files).map(([name, [ctime, size]]) => [name, node(0o100644, ctime, size)] as const),
  )
  return {
    root: { ...node(0o040755, 0, 0), content: undefined, children },
    index: new Map(),
    indexRoot: undefined,
    moved: [],
  }
}

const HEAD = { bootId: '', uncleanBefore: [] } as unknown as HeadRecord

test('files that are empty and were changed in the last minute before a crash are suspicious', () => {
  const scan = scanOf({ long: [100, 0], late: [950, 0], full: [960, 10], last: [1000, 5] })
  assert.deepEqual(suspiciousFiles(HEAD, scan), [])
  assert.deepEqual(suspiciousFiles({ ...HEAD, bootId: bootId() }, scan), [])
  assert.deepEqual(suspiciousFiles({ ...HEAD, bootId: 'another boot' }, scan), ['late'])
})

test('they stay suspicious, whatever is written after the crash, until a commit takes them', () => {
  const files = { late: [950, 0], last: [1000, 5], 'since then': [9000, 0] } as const
  const mounted = { ...noteBoot({ ...HEAD, bootId: 'another boot' }), uncleanBefore: [2_000_000] }
  assert.equal(mounted.bootId, bootId())
  assert.deepEqual(suspiciousFiles(mounted, scanOf(files)), ['late'])
  const crashedAgain: HeadRecord = { ...mounted, bootId: 'a third boot' }
  assert.deepEqual(suspiciousFiles(crashedAgain, scanOf(files)), ['late', 'since then'])
  assert.equal(noteBoot(crashedAgain).uncleanBefore?.length, 2)
  assert.deepEqual(suspiciousFiles(withoutDoubt(crashedAgain), scanOf(files)), [])
})

/** A HEAD that was written to in one boot and from which it did not come back. */
async function crashed(): Promise<{ lab: Lab; cli: (boot: string, ...args: string[]) => Promise<CliResult> }> {
  const lab = await createLab({ base: 'base '.repeat(40) })
  const cli = (boot: string, ...args: string[]): Promise<CliResult> => runCli(lab, args, { STRATUM_BOOT_ID: boot })
  assert.equal((await cli('one', 'mount', 'app', lab.head)).status, 0)
  fs.writeFileSync(path.join(lab.head, 'cut'), '')
  fs.writeFileSync(path.join(lab.head, 'whole'), 'whole')
  unmount(lab.head)
  return { lab, cli }
}

test('a commit after an unclean boot lists what looks cut, and takes it only when told to', async () => {
  const { lab, cli } = await crashed()
  const refused = await cli('two', 'commit', 'app', '--json')
  assert.equal(refused.status, 8)
  assert.deepEqual((JSON.parse(refused.stdout) as { error: { details: unknown } }).error.details, { files: ['cut'] })
  assert.equal((await cli('two', 'mount', 'app', lab.head)).status, 0)
  fs.writeFileSync(path.join(lab.head, 'later'), 'in the next boot')
  assert.equal((await cli('two', 'commit', 'app')).status, 8)
  assert.equal((await cli('two', 'commit', 'app', '--allow-unclean')).status, 0)
  fs.writeFileSync(path.join(lab.head, 'again'), 'again')
  assert.equal((await cli('two', 'commit', 'app')).status, 0)
})

test('a commit after an unclean boot in which nothing was cut needs no permission', async () => {
  const { lab, cli } = await crashed()
  fs.unlinkSync(path.join(lab.paths.upper, 'cut'))
  assert.equal((await cli('two', 'commit', 'app')).status, 0)
})

test('HEAD that was unmounted is clean in the next boot', async () => {
  const lab = await createLab({ base: 'base' })
  const cli = (boot: string, ...args: string[]): Promise<CliResult> => runCli(lab, args, { STRATUM_BOOT_ID: boot })
  await cli('one', 'mount', 'app', lab.head)
  fs.writeFileSync(path.join(lab.head, 'empty'), '')
  assert.equal((await cli('one', 'unmount', 'app')).status, 0)
  assert.equal((await cli('two', 'commit', 'app')).status, 0)
})

test('that HEAD is mounted in this boot is known also when a re-mount was cut off before it was noted', async () => {
  const lab = await createLab({ base: 'base' })
  await lab.mount()
  const file = path.join(lab.paths.label, 'head.toml')
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(/boot_id = ".*"/, 'boot_id = ""'))
  await lab.tag(`app:${lab.record().base}`, 'any')
  assert.equal(lab.record().bootId, bootId())
})
