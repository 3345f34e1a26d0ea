import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { parseLabel } from '../../src/names/label.ts'
import { parseTag } from '../../src/names/tag.ts'
import { ociLayout, openWorkshop, packed, type Workshop } from './workshop.ts'

/** The process dies before its n-th change of the disk, for many n; what the next command finds is as if it had never been, or done. */
const CLI = path.join(import.meta.dirname, 'fault-cli.ts')
/** Every third step; with STRATUM_TEST_SCALE=3 every one. */
const STRIDE = Math.max(1, Math.round(3 / Number(process.env.STRATUM_TEST_SCALE ?? 1)))
const big = Buffer.alloc(2_000_000, 'big')
const layer = await packed(
  [{ name: 'small' }, 'x'],
  [{ name: 'object' }, Buffer.alloc(9000, 'o')],
  [{ name: 'big' }, big],
)

function runFaulty(shop: Workshop, fault: string, ...args: string[]): { status: number | null; signal: string | null } {
  const { status, signal } = spawnSync(process.execPath, [CLI, ...args, '--store', shop.context.store.path], {
    cwd: shop.folder,
    env: { ...process.env, STRATUM_FAULT: fault },
    stdio: 'ignore',
  })
  return { status, signal }
}

/** Calls `check` after a death at each of many steps, until the command comes to its end. Returns how many steps it has. */
async function killAtManySteps(
  shop: Workshop,
  args: readonly string[],
  check: (step: number) => Promise<void>,
  stride = STRIDE,
): Promise<number> {
  for (let step = 1; ; step += stride) {
    const { status, signal } = runFaulty(shop, `kill@${step}`, ...args)
    await check(step)
    if (signal === null) {
      assert.equal(status, 0)
      return step
    }
    assert.equal(signal, 'SIGKILL')
  }
}

for (const [name, archive] of Object.entries({
  tar: zlib.zstdCompressSync(layer),
  image: await ociLayout({ layers: [{ tar: layer, compress: bytes => zlib.gzipSync(bytes) }] }).pack(),
}))
  test(`an import of a ${name} that is killed anywhere leaves nothing behind the next command`, async () => {
    const shop = openWorkshop()
    const file = path.join(shop.folder, 'archive')
    fs.writeFileSync(file, archive)
    const refs = path.join(shop.context.store.path, 'refs/app')
    const steps = await killAtManySteps(shop, ['import', file, '--label', 'app', '--tag', 'v1'], async step => {
      const next = await shop.importArchive(file, { label: parseLabel('app') })
      assert.deepEqual(fs.readdirSync(path.join(shop.context.store.path, 'staging')), [], `after step ${step}`)
      const tag = path.join(refs, 'tags/v1')
      if (fs.existsSync(tag)) assert.equal(fs.readFileSync(tag, 'utf8').trim(), next.metadata.id)
      fs.rmSync(refs, { recursive: true })
    })
    assert.ok(steps > 20, `only ${steps} steps`)
  })

test('an export that is killed anywhere leaves the file whole or as it was, and nothing beside it after the next', async () => {
  const shop = openWorkshop()
  const target = path.join(shop.folder, 'out')
  const archive = path.join(shop.folder, 'archive')
  fs.mkdirSync(target)
  fs.writeFileSync(archive, layer)
  const { metadata } = await shop.importArchive(archive, { tag: parseTag('v1') })
  for (const before of [undefined, 'what was there before'])
    for (const format of ['tar', 'oci.tar']) {
      const file = path.join(target, `app.${format}`)
      const set = (): void => {
        fs.rmSync(file, { force: true })
        if (before !== undefined) fs.writeFileSync(file, before)
      }
      set()
      const check = async (step: number): Promise<void> => {
        const there = fs.existsSync(file) ? fs.readFileSync(file) : undefined
        const asBefore = there === undefined ? before === undefined : there.toString() === before
        if (!asBefore) assert.equal((await shop.importArchive(file)).metadata.id, metadata.id, `after step ${step}`)
        await shop.exportTo(metadata.id, path.join(target, 'next.cfs'), 'cfs')
        const left = fs.readdirSync(target).filter(name => name.startsWith('.'))
        assert.deepEqual(left, [], `after step ${step}`)
        set()
      }
      const steps = await killAtManySteps(shop, ['export', 'test:v1', file, '--force'], check, 1)
      assert.ok(steps > 6, `only ${steps} steps`)
    }
})
