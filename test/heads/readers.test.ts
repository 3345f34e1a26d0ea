import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseReference } from '../../src/names/reference.ts'
import { readFileOf } from '../../src/repository/cat.ts'
import { diffTrees } from '../../src/repository/diff.ts'
import { readStatus } from '../../src/repository/status.ts'
import { runCli } from '../support/cli.ts'
import { createLab } from '../support/lab.ts'
import { createRandom } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/** Who looks at a HEAD takes no lock that a commit would have to wait for. What is looked at may be folded away meanwhile. */
const LOOKS = scaled(60)
const FILES = { number: '0'.repeat(3000), other: 'other' }

test('who looks at a HEAD that is committed and folded meanwhile sees no state that is older than one it has seen', async t => {
  const lab = await createLab(FILES)
  const random = createRandom(firstSeed())
  const { commit: base } = await lab.mount()
  await lab.tag(`app:${base}`, 'first')
  const reader = spawn(process.execPath, [path.join(import.meta.dirname, '../support/head-reader.ts'), lab.folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let looks = 0
  reader.stdout.on('data', (dots: Buffer) => (looks += dots.length))
  const closed = once(reader, 'close')
  t.after(() => reader.kill())
  let folds = 0
  for (let round = 1; (looks < LOOKS || folds < LOOKS) && reader.exitCode === null; round++) {
    assert.ok(round < LOOKS * 50, `${looks} looks and ${folds} folds only`)
    fs.writeFileSync(path.join(lab.head, 'number.new'), `${round}`.padStart(3000))
    fs.renameSync(path.join(lab.head, 'number.new'), path.join(lab.head, 'number'))
    const { remounted } = await lab.commit()
    if (remounted.how === 'swapped') folds++
    await sleep(random.below(30))
  }
  reader.stdin.end()
  assert.deepEqual(await closed, [0, null])
  t.diagnostic(`${looks} looks, ${folds} folds`)
})

const HEAD = parseReference('app')

test('who looks at a HEAD whose committer was killed sees what it holds', async () => {
  const lab = await createLab(FILES)
  const { commit: base } = await lab.mount()
  await lab.tag(`app:${base}`, 'first')
  for (let n = 1; ; n++) {
    assert.ok(n < 400, 'the commit never ended')
    fs.writeFileSync(path.join(lab.head, 'number'), `${n}`.padStart(3000))
    const { status } = await runCli(lab, ['commit', 'app'], { STRATUM_FAULT: `kill@${n}` })
    assert.equal(Number(await lab.cat('app', 'number')), n, `killed at ${n}`)
    const { differences } = await diffTrees(lab.context, HEAD, parseReference('app:first'))
    assert.deepEqual(
      differences.map(({ path }) => path).filter(path => path !== ''),
      ['number'],
      `killed at ${n}`,
    )
    await readStatus(lab.context, HEAD)
    if (status === 0) break
    await lab.tag(`app:${base}`, `after-${n}`) // lets writers go on
  }
})

test('a file of HEAD that is cut off while it is read ends there', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  fs.writeFileSync(path.join(lab.head, 'long'), Buffer.alloc(5 << 20, 'x'))
  let bytes = 0
  for await (const piece of readFileOf(lab.context, HEAD, 'long')) {
    bytes += piece.length
    fs.truncateSync(path.join(lab.head, 'long'), 3 << 19)
  }
  assert.equal(bytes, 3 << 19)
})

test('what was written through one name of a hard link is read through the others, wherever they are', async () => {
  const lab = await createLab(FILES)
  const links = path.join(lab.folder, 'links')
  fs.mkdirSync(path.join(links, 'there'), { recursive: true })
  fs.writeFileSync(path.join(links, 'here'), 'x'.repeat(9000))
  fs.linkSync(path.join(links, 'here'), path.join(links, 'there/too'))
  fs.symlinkSync('here', path.join(links, 'symlink'))
  fs.linkSync(path.join(links, 'symlink'), path.join(links, 'same'))
  assert.equal((await runCli(lab, ['import', links, '--label', 'links'])).status, 0)
  const mountpoint = path.join(lab.folder, 'links-mount')
  assert.equal((await runCli(lab, ['mount', 'links', mountpoint])).status, 0)
  fs.lchownSync(path.join(mountpoint, 'symlink'), 7, 7) // stands beside it where overlayfs keeps inodes
  fs.appendFileSync(path.join(mountpoint, 'here'), 'and more')
  for (const name of ['here', 'there/too']) assert.equal(await lab.cat('links', name), `${'x'.repeat(9000)}and more`)
  fs.renameSync(path.join(mountpoint, 'there'), path.join(mountpoint, 'elsewhere'))
  assert.equal(await lab.cat('links', 'elsewhere/too'), `${'x'.repeat(9000)}and more`)
})
