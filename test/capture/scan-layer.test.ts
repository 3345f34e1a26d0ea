import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { HashCache } from '../../src/capture/hash-cache.ts'
import { createReaderPool, type ReaderPool } from '../../src/capture/reader-pool.ts'
import { type LayerScan, type ScannedNode, scanLayer } from '../../src/capture/scan-layer.ts'
import { close, exchange, openDirectory, openDirectoryAt } from '../../src/host/descriptors.ts'
import { setOwnerAndMode } from '../../src/host/files.ts'
import { setXattr } from '../../src/host/xattrs.ts'
import { createLab } from '../support/lab.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/** A scan that builds on one before looks at names and opens no directory that held still. It must find what a scan from nothing finds. */
const NO_CACHE: HashCache = { find: () => undefined }
const TEXT = 'content '.repeat(40)

/** A folder that stands for an upperdir with its workdir, and scans of it. */
interface Layer extends AsyncDisposable {
  readonly upper: string
  readonly index: string
  scan(previous?: LayerScan, probe?: bigint): Promise<LayerScan>
}

async function createLayer(change: (pool: ReaderPool) => ReaderPool = pool => pool): Promise<Layer> {
  const lab = await createLab()
  const upper = lab.makeFolder('upper')
  const index = lab.makeFolder('work/index')
  for (const directory of ['a', 'a/b', 'a/b/c', 'd', 'd/e', 'empty']) fs.mkdirSync(`${upper}/${directory}`)
  for (const file of ['one', 'a/two', 'a/b/three', 'a/b/c/four', 'd/five', 'd/e/six'])
    fs.writeFileSync(`${upper}/${file}`, TEXT + file)
  fs.linkSync(`${upper}/one`, `${upper}/d/linked`)
  fs.linkSync(`${upper}/a/two`, `${index}/00fb`)
  fs.symlinkSync('one', `${upper}/link`)
  const probe = momentOf(`${lab.folder}/probe`)
  const pool = change(createReaderPool(lab.store, undefined))
  return {
    upper,
    index,
    scan: (previous, earliest = probe) =>
      scanLayer(upper, path.dirname(index), { pool, cache: NO_CACHE, probe: earliest, previous }),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

/** As `touchProbe` has it, without the wait for the disk. */
function momentOf(file: string): bigint {
  fs.writeFileSync(file, '')
  fs.statSync(file)
  fs.chmodSync(file, 0o600)
  return fs.statSync(file, { bigint: true }).ctimeNs
}

/** All of a scan that goes into a commit, as text that can be compared. */
function describe({ root, index }: LayerScan): string[] {
  const lines: string[] = []
  const visit = (node: ScannedNode, at: string): void => {
    const { stat, xattrs, content } = node
    const { mode, inode, uid, gid, size, mtimeSeconds, mtimeNanoseconds, ctime } = stat
    lines.push([at, mode, inode, uid, gid, size, mtimeSeconds, mtimeNanoseconds, ctime].join(' '))
    lines.push(JSON.stringify([xattrs, content]))
    for (const [name, child] of [...(node.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)))
      visit(child, `${at}/${name}`)
  }
  visit(root, '')
  for (const [name, node] of [...index].sort(([a], [b]) => (a < b ? -1 : 1))) visit(node, `index/${name}`)
  return lines
}

/** Changes that leave as little behind as they can; `keepTimes` sets the mtime of what was changed back, as overlayfs and tar do. */
const KINDS: Readonly<Record<string, (upper: string, index: string) => void>> = {
  'a new file': upper => fs.writeFileSync(`${upper}/a/b/new`, 'new'),
  'a new file whose directory got its mtime back': upper =>
    keepTimes(`${upper}/a/b`, () => fs.writeFileSync(`${upper}/a/b/new`, 'new')),
  'a new directory': upper => fs.mkdirSync(`${upper}/a/b/c/new`),
  'a file less': upper => fs.unlinkSync(`${upper}/a/b/c/four`),
  'a directory less': upper => fs.rmdirSync(`${upper}/empty`),
  'a file renamed': upper => keepTimes(`${upper}/a`, () => fs.renameSync(`${upper}/a/two`, `${upper}/a/2`)),
  'a file moved': upper => fs.renameSync(`${upper}/a/two`, `${upper}/d/e/two`),
  'a directory renamed': upper => keepTimes(`${upper}/a`, () => fs.renameSync(`${upper}/a/b`, `${upper}/a/B`)),
  'a directory moved': upper => fs.renameSync(`${upper}/a/b`, `${upper}/d/b`),
  'two files exchanged': upper => exchange(`${upper}/a/two`, `${upper}/a/b/three`),
  'two directories exchanged': upper => exchange(`${upper}/a/b`, `${upper}/d/e`),
  'two directories exchanged, one inside the other': upper => exchange(`${upper}/a/b/c`, `${upper}/empty`),
  'a directory exchanged for a symlink to it': upper => {
    fs.renameSync(`${upper}/a/b`, `${upper}/a/other`)
    fs.symlinkSync('other', `${upper}/a/b`)
  },
  'a file that became a directory': upper => {
    fs.unlinkSync(`${upper}/a/b/three`)
    fs.mkdirSync(`${upper}/a/b/three`)
    fs.writeFileSync(`${upper}/a/b/three/inside`, TEXT)
  },
  'a directory that became a file': upper => {
    fs.rmdirSync(`${upper}/empty`)
    fs.writeFileSync(`${upper}/empty`, TEXT)
  },
  'a file made anew, with its times': upper =>
    keepTimes(`${upper}/d/five`, () => {
      fs.unlinkSync(`${upper}/d/five`)
      fs.writeFileSync(`${upper}/d/five`, `${TEXT}FIVE`.slice(0, TEXT.length + 6))
    }),
  'other bytes in a file, with its times': upper =>
    keepTimes(`${upper}/a/b/c/four`, () => fs.writeFileSync(`${upper}/a/b/c/four`, `${TEXT}a/b/c/FOUR`)),
  'a file that grew': upper => fs.appendFileSync(`${upper}/d/e/six`, 'more'),
  'a link to another target': upper => {
    fs.unlinkSync(`${upper}/link`)
    fs.symlinkSync('two', `${upper}/link`)
  },
  'another mode': upper => fs.chmodSync(`${upper}/d/five`, 0o600),
  'another mode of a directory': upper => fs.chmodSync(`${upper}/a/b`, 0o700),
  'another owner of a directory': upper => setOwnerAndMode(`${upper}/a/b`, 12, 34, 0o755),
  'an xattr of a file': upper => setXattr(`${upper}/d/five`, 'user.note', 'x'),
  'an xattr of a directory': upper => setXattr(`${upper}/a/b/c`, 'trusted.overlay.opaque', 'y'),
  'another mtime of a directory': upper => fs.utimesSync(`${upper}/a/b/c`, 1, 1),
  'another mode of the root': upper => fs.chmodSync(upper, 0o700),
  'a name more for a file': upper => fs.linkSync(`${upper}/d/five`, `${upper}/a/b/c/five`),
  'a name less for a file': upper => fs.unlinkSync(`${upper}/d/linked`),
  'bytes through another name': upper => fs.appendFileSync(`${upper}/d/linked`, 'more'),
  'a name more in the index': (upper, index) => fs.linkSync(`${upper}/d/five`, `${index}/00fb01`),
  'a name less in the index': (_upper, index) => fs.unlinkSync(`${index}/00fb`),
}

function keepTimes(file: string, work: () => void): void {
  const { atimeNs, mtimeNs } = fs.statSync(file, { bigint: true })
  work()
  fs.utimesSync(file, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9)
}

for (const [kind, change] of Object.entries(KINDS)) {
  test(`between two scans: ${kind}`, async () => {
    await using layer = await createLayer()
    const before = await layer.scan()
    const same = await layer.scan(before)
    assert.deepEqual(same.moved, [], 'nothing moved yet')
    change(layer.upper, layer.index)
    const after = await layer.scan(same)
    assert.notDeepEqual(after.moved, [])
    assert.deepEqual(describe(after), describe(await layer.scan()))
    const again = await layer.scan(after)
    assert.deepEqual(again.moved, [])
    assert.deepEqual(describe(again), describe(after))
  })
}

test('an index that is made after the first scan is found', async () => {
  await using layer = await createLayer()
  fs.rmSync(layer.index, { recursive: true })
  const before = await layer.scan()
  fs.mkdirSync(layer.index)
  fs.linkSync(`${layer.upper}/one`, `${layer.index}/00fb02`)
  const after = await layer.scan(before)
  assert.deepEqual([...after.index.keys()], ['00fb02'])
  assert.notDeepEqual(after.moved, [])
})

/** A scan in which names are missing: whether they come back tells whether a directory was listed. */
function forget(scan: LayerScan, directory: string, name: string): void {
  scan.root.children?.get(directory)?.children?.delete(name)
}

test('a directory that held still since before the probe is not listed again, any other one is', async () => {
  await using layer = await createLayer()
  const namesOf = ({ root }: LayerScan): string[] => [...(root.children?.get('d')?.children?.keys() ?? [])].sort()
  const all = ['e', 'five', 'linked']
  const settled = await layer.scan()
  forget(settled, 'd', 'five')
  assert.deepEqual(namesOf(await layer.scan(settled)), ['e', 'linked'])

  const unsettled = await layer.scan(undefined, 0n)
  forget(unsettled, 'd', 'five')
  assert.deepEqual(namesOf(await layer.scan(unsettled, 0n)), all, 'a look cannot tell here')

  const { ctimeNs } = fs.statSync(`${layer.upper}/d`, { bigint: true })
  const sameTick = await layer.scan(undefined, ctimeNs)
  forget(sameTick, 'd', 'five')
  assert.deepEqual(namesOf(await layer.scan(sameTick, ctimeNs)), all, 'changed in the very moment of the probe')
})

test('a file that held still since before the probe is not read again, any other one is', async () => {
  await using layer = await createLayer()
  const poisoned = async (probe?: bigint): Promise<string[]> => {
    const before = await layer.scan(undefined, probe)
    const file = before.root.children?.get('one') as ScannedNode
    file.content = { size: 3, digest: undefined, data: 'bad' }
    const after = await layer.scan(before, probe)
    return describe(after).filter(line => line.includes('"bad"'))
  }
  assert.equal((await poisoned()).length, 2, 'both names')
  assert.deepEqual(await poisoned(0n), [])
})

/** While the scan reads a file: what has been looked at, and what is still to come, depends on which. */
const MIDWAY: Readonly<Record<string, (upper: string) => void>> = {
  'directories deep down exchanged': upper => exchange(`${upper}/a/b`, `${upper}/d/e`),
  'directories at the top exchanged': upper => exchange(`${upper}/a`, `${upper}/d`),
  'files exchanged': upper => exchange(`${upper}/a/two`, `${upper}/d/five`),
  'a file less': upper => fs.unlinkSync(`${upper}/a/two`),
  'a file more': upper => fs.writeFileSync(`${upper}/a/b/new`, 'new'),
  'a directory less': upper => fs.rmSync(`${upper}/d`, { recursive: true }),
  'other bytes in a file': upper => fs.appendFileSync(`${upper}/a/b/three`, 'more'),
}

for (const [kind, change] of Object.entries(MIDWAY)) {
  test(`in the middle of a scan: ${kind}`, async () => {
    for (const read of ['one', 'a/two', 'a/b/three', 'a/b/c/four', 'd/five', 'd/e/six']) {
      let hook: (() => void) | undefined
      await using layer = await createLayer(pool => ({
        ...pool,
        read(directory, name, bytes, done) {
          hook?.()
          hook = undefined
          pool.read(directory, name, bytes, done)
        },
      }))
      const before = await layer.scan()
      fs.appendFileSync(`${layer.upper}/${read}`, 'more')
      hook = () => change(layer.upper)
      const during = await layer.scan(before)
      assert.equal(hook, undefined, 'the file was read')
      const after = await layer.scan(during)
      assert.deepEqual(describe(after), describe(await layer.scan()))
      if (after.moved.length === 0)
        assert.deepEqual(describe(during), describe(after), 'it was found at once, or moved')
    }
  })
}

test('changes below a path that is longer than the kernel takes are found', async () => {
  await using layer = await createLayer()
  const name = 'x'.repeat(250)
  let directory = openDirectory(layer.upper)
  const inside = (file: string): string => `/proc/self/fd/${directory}/${file}`
  for (let depth = 0; depth < 20; depth++) {
    fs.mkdirSync(inside(name))
    fs.writeFileSync(inside('file'), TEXT)
    const below = openDirectoryAt(directory, name)
    close(directory)
    directory = below
  }
  try {
    fs.writeFileSync(inside('file'), TEXT)
    fs.writeFileSync(inside('other'), TEXT)
    const before = await layer.scan()
    assert.deepEqual((await layer.scan(before)).moved, [])
    fs.writeFileSync(inside('file'), TEXT.replaceAll('c', 'C'))
    const after = await layer.scan(before)
    assert.deepEqual(
      after.moved.map(moved => path.basename(moved)),
      ['file'],
    )
    assert.deepEqual(describe(after), describe(await layer.scan()))
  } finally {
    close(directory)
  }
})

const SEQUENCES = scaled(20)
const STEPS = 12

test(`${SEQUENCES} random sequences of changes with scans in between: each finds what a scan from nothing finds`, async () => {
  for (let seed = firstSeed(); seed < firstSeed() + SEQUENCES; seed++) {
    const random = createRandom(seed)
    await using layer = await createLayer()
    let scan = await layer.scan()
    for (let step = 1; step <= STEPS; step++) {
      const changes = random.below(4)
      for (let i = 0; i < changes; i++) changeSomething(layer.upper, random)
      scan = await layer.scan(scan)
      assert.deepEqual(describe(scan), describe(await layer.scan()), `seed ${seed}, step ${step}`)
    }
  }
})

/** What cannot be done (a directory into itself, a file that is no directory) is passed over. */
function changeSomething(upper: string, random: Random): void {
  const names = fs.readdirSync(upper, { recursive: true, encoding: 'utf8' }).map(name => `${upper}/${name}`)
  const [some, other] = [random.pick(names), random.pick(names)]
  const beside = path.join(path.dirname(some), `new-${random.below(1000)}`)
  const kinds = [
    () => fs.renameSync(some, other),
    () => fs.renameSync(some, beside),
    () => exchange(some, other),
    () => fs.writeFileSync(some, random.bytes(random.below(200)), 'latin1'),
    () => fs.writeFileSync(beside, random.bytes(random.below(200)), 'latin1'),
    () => fs.mkdirSync(beside),
    () => fs.linkSync(some, beside),
    () => fs.unlinkSync(some),
    () => fs.chmodSync(some, 0o700 + random.below(64)),
    () => fs.cpSync(some, beside, { recursive: true }),
  ]
  try {
    random.pick(kinds)()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
  }
}
