import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Image, NodeId } from '../../src/erofs/arena.ts'
import { findNode } from '../../src/erofs/directory.ts'
import type { Xattr } from '../../src/erofs/xattrs.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import type { Content, Entry } from '../../src/tree/entry.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { type Layer, type LayerNode, layerChanges } from '../../src/tree/layer-changes.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { dumpOfImage, normalizeDump } from '../support/dump.ts'
import { hashesOfChange, imageOfChange, parseBytes, writeToMemory } from '../support/images.ts'
import { dir, file, link, literal, objectFile, special } from '../support/literal.ts'

/** Upperdirs as overlayfs leaves them, written down by hand: what each form means for the tree. */
let nextInode = 1000n

interface NodeOptions {
  readonly xattrs?: readonly Xattr[]
  /** Names of one inode share one node of the same number. */
  readonly inode?: bigint
  readonly links?: number
}

/** The nodes of one layer by inode. */
const nodes = new Map<bigint, LayerNode>()

function node(
  entry: Entry,
  options: NodeOptions,
  content: Content | undefined,
  children?: LayerNode['children'],
): LayerNode {
  const known = options.inode === undefined ? undefined : nodes.get(options.inode)
  if (known !== undefined) return known // the scan makes one node for all names of an inode
  const { mode, uid, gid, seconds, nanoseconds, device } = entry
  const made: LayerNode = {
    stat: {
      mode,
      uid,
      gid,
      device,
      mtimeSeconds: seconds,
      mtimeNanoseconds: nanoseconds,
      inode: options.inode ?? nextInode++,
      links: options.links ?? 1,
    },
    xattrs: options.xattrs ?? [],
    content,
    children,
  }
  if (options.inode !== undefined) nodes.set(options.inode, made)
  return made
}

/** A file, symlink or special file with all its bytes. */
function full(entry: Entry, options: NodeOptions = {}): LayerNode {
  const isSpecial = entry.mode >> 12 !== 8 && entry.mode >> 12 !== 10
  return node(entry, options, isSpecial ? undefined : { size: entry.size, digest: entry.digest, data: entry.data })
}

/** A file that was copied up without its bytes: they are those of `origin`. */
function metadataOnly(entry: Entry, origin: string, options: NodeOptions = {}): LayerNode {
  const xattrs: Xattr[] = [
    ['trusted.overlay.metacopy', ''],
    ['trusted.overlay.origin', origin],
    ...(options.xattrs ?? []),
  ]
  return node(entry, { ...options, xattrs }, undefined)
}

function folder(entry: Entry, children: Record<string, LayerNode>, xattrs: readonly Xattr[] = []): LayerNode {
  return node(entry, { xattrs }, undefined, new Map(Object.entries(children)))
}

const whiteout = (): LayerNode => node(special(0o020000), { links: 3, inode: 7n }, undefined)
const opaque: Xattr = ['trusted.overlay.opaque', 'y']
const redirect = (to: string): Xattr => ['trusted.overlay.redirect', to]

/** struct ovl_fh as Linux writes it for an inode of our images: since 6.15 (type 0x81) and before (type 1). */
function handle(node: NodeId, form: 'new' | 'old' = 'new'): Buffer {
  const bytes = Buffer.alloc(form === 'new' ? 33 : 29)
  bytes[1] = 0xfb
  bytes[2] = bytes.length
  bytes[4] = form === 'new' ? 0x81 : 1
  if (form === 'new') bytes.writeUInt32LE(node, 25)
  else bytes.writeUInt32LE(node, 21)
  return bytes
}

const originOf = (base: Image, path: string): string => handle(findNode(base, path) as NodeId).toString('latin1')

interface Case {
  base: Readonly<Record<string, Entry>>
  root: (base: Image) => LayerNode
  index?: (base: Image) => Record<string, LayerNode>
  expected: Readonly<Record<string, Entry>>
  torn?: string[]
}

function check({ base, root, index, expected, torn = [] }: Case): void {
  nodes.clear()
  const image = imageOfChange(literal(base))
  const layer: Layer = { root: root(image), index: new Map(Object.entries(index?.(image) ?? {})) }
  const changes = layerChanges(image, layer)
  const tree = mergeTree(image, changes.change)
  const wanted = literal(expected)
  const shown = normalizeDump(dumpOfImage(parseBytes(writeToMemory(tree).bytes)))
  assert.equal(shown, normalizeDump(dumpOfImage(imageOfChange(wanted))))
  assert.deepEqual(hashTree(tree), hashesOfChange(wanted))
  assert.deepEqual(changes.torn, torn)
}

const ROOT = dir()
const BASE = {
  '': ROOT,
  a: file('a'),
  d: dir(),
  'd/x': file('x'),
  'd/e': dir(),
  'd/e/y': objectFile('1', 9000),
  s: link('a'),
}

test('an empty upperdir changes nothing', () => {
  check({ base: BASE, root: () => folder(ROOT, {}), expected: BASE })
})

test('the attributes of the root are those of the upperdir', () => {
  const root = dir({ mode: 0o1770, uid: 5, seconds: 7, xattrs: [['user.a', 'b']] })
  check({ base: BASE, root: () => folder(root, {}, root.xattrs), expected: { ...BASE, '': root } })
})

test('files, links and devices that lie in the upperdir are new or take the place of what was there', () => {
  const added = {
    a: link('elsewhere'),
    n: file('new'),
    o: objectFile('2', 70),
    f: special(0o010600),
    c: special(0o020600, 259),
  }
  check({
    base: BASE,
    root: () => folder(ROOT, Object.fromEntries(Object.entries(added).map(([name, entry]) => [name, full(entry)]))),
    expected: { ...BASE, ...added },
  })
})

test('a whiteout takes a name away, and one of nothing is nothing', () => {
  const { a: _, ...expected } = BASE
  check({ base: BASE, root: () => folder(ROOT, { a: whiteout(), nothing: whiteout() }), expected })
})

test('a whiteout of a directory takes away what is below it', () => {
  check({ base: BASE, root: () => folder(ROOT, { d: whiteout() }), expected: { '': ROOT, a: BASE.a, s: BASE.s } })
})

test('a directory shows its own names over those of the base, with its own attributes', () => {
  const d = dir({ mode: 0o700, seconds: 5 })
  check({
    base: BASE,
    root: () => folder(ROOT, { d: folder(d, { n: full(file('n')), x: whiteout() }) }),
    expected: { '': ROOT, a: BASE.a, s: BASE.s, d, 'd/e': BASE['d/e'], 'd/e/y': BASE['d/e/y'], 'd/n': file('n') },
  })
})

test('an opaque directory shows nothing of the base', () => {
  const d = dir({ mode: 0o700 })
  check({
    base: BASE,
    root: () => folder(ROOT, { d: folder(d, { n: full(file('n')) }, [opaque]) }),
    expected: { '': ROOT, a: BASE.a, s: BASE.s, d, 'd/n': file('n') },
  })
})

test('a directory where a file or symlink was is empty', () => {
  for (const name of ['a', 's'] as const) {
    const expected: Record<string, Entry> = { ...BASE, [name]: dir(), [`${name}/n`]: file('n') }
    check({ base: BASE, root: () => folder(ROOT, { [name]: folder(dir(), { n: full(file('n')) }) }), expected })
  }
})

test('a file where a directory was takes the place of all of it', () => {
  check({
    base: BASE,
    root: () => folder(ROOT, { d: full(file('now a file')) }),
    expected: { '': ROOT, a: BASE.a, s: BASE.s, d: file('now a file') },
  })
})

const RENAMED = {
  '': ROOT,
  a: BASE.a,
  s: BASE.s,
  n: dir(),
  'n/x': BASE['d/x'],
  'n/e': BASE['d/e'],
  'n/e/y': BASE['d/e/y'],
}

test('a renamed directory has the names of where it was', () => {
  for (const to of ['d', '/d'])
    check({
      base: BASE,
      root: () => folder(ROOT, { d: whiteout(), n: folder(dir(), {}, [redirect(to)]) }),
      expected: RENAMED,
    })
})

test('a relative redirect counts from where the directory above came from', () => {
  check({
    base: BASE,
    root: () =>
      folder(ROOT, {
        d: whiteout(),
        n: folder(dir(), { e: whiteout(), z: folder(dir(), {}, [redirect('e')]) }, [redirect('/d')]),
      }),
    expected: { '': ROOT, a: BASE.a, s: BASE.s, n: dir(), 'n/x': BASE['d/x'], 'n/z': dir(), 'n/z/y': BASE['d/e/y'] },
  })
})

test('a directory below a renamed one goes by its own name there', () => {
  const e = dir({ mode: 0o711 })
  check({
    base: BASE,
    root: () => folder(ROOT, { d: whiteout(), n: folder(dir(), { e: folder(e, {}) }, [redirect('/d')]) }),
    expected: { ...RENAMED, 'n/e': e },
  })
})

test('an absolute redirect leads out of a directory that shows nothing of the base', () => {
  check({
    base: BASE,
    root: () => folder(ROOT, { new: folder(dir(), { moved: folder(dir(), {}, [redirect('/d/e')]) }, [opaque]) }),
    expected: { ...BASE, new: dir(), 'new/moved': dir(), 'new/moved/y': BASE['d/e/y'] },
  })
})

test('a redirect to nothing or to a file shows an empty directory', () => {
  for (const to of ['gone', '/gone', '/d/gone/e', 'a', '/a', '/s'])
    check({
      base: BASE,
      root: () => folder(ROOT, { n: folder(dir(), {}, [redirect(to)]) }),
      expected: { ...BASE, n: dir() },
    })
})

test('two directories can change places', () => {
  const base = { '': ROOT, p: dir(), 'p/1': file('1'), q: dir(), 'q/2': file('2') }
  check({
    base,
    root: () => folder(ROOT, { p: folder(dir(), {}, [redirect('q')]), q: folder(dir(), {}, [redirect('p')]) }),
    expected: { '': ROOT, p: dir(), 'p/2': file('2'), q: dir(), 'q/1': file('1') },
  })
})

test('a file with only metadata has the bytes of its origin', () => {
  const changed = objectFile('1', 9000, { mode: 0o600, uid: 3, xattrs: [['user.k', 'v']] })
  check({
    base: BASE,
    root: base =>
      folder(ROOT, {
        d: folder(dir(), {
          e: folder(dir(), {
            y: metadataOnly({ ...changed, size: 9000 }, originOf(base, 'd/e/y'), { xattrs: [['user.k', 'v']] }),
          }),
          x: metadataOnly(file('', { mode: 0o444 }), originOf(base, 'd/x')),
        }),
      }),
    expected: { ...BASE, 'd/e/y': changed, 'd/x': file('x', { mode: 0o444 }) },
  })
})

test('a file with only metadata that was renamed still has the bytes of its origin', () => {
  const { a: _, ...rest } = BASE
  check({
    base: BASE,
    root: base =>
      folder(ROOT, { a: whiteout(), b: metadataOnly(file(''), originOf(base, 'a'), { xattrs: [redirect('a')] }) }),
    expected: { ...rest, b: file('a') },
  })
})

test('a file with only metadata whose bytes cannot be found is an integrity error that names it', () => {
  const image = imageOfChange(literal(BASE))
  const bad: LayerNode[] = [
    node(file(''), { xattrs: [['trusted.overlay.metacopy', '']] }, undefined),
    metadataOnly(file(''), ''),
    metadataOnly(file(''), 'no handle at all, but long enough to be one'),
    metadataOnly(file(''), handle(2 ** 31).toString('latin1')),
    metadataOnly(file(''), handle(0).toString('latin1')),
    metadataOnly(file(''), originOf(image, 'd')),
    metadataOnly(file(''), originOf(image, 's')),
  ]
  for (const child of bad) {
    assert.throws(
      () => layerChanges(image, { root: folder(ROOT, { a: child }), index: new Map() }),
      error => isStratumError(error, 'integrity'),
    )
  }
})

const LINKED = objectFile('4', 400, { linked: true })
const LINKS = { '': ROOT, one: LINKED, d: dir(), 'd/two': LINKED, 'd/e': dir(), 'd/e/three': LINKED, other: file('o') }

test('a write through one name of a hard link of the base is seen through all of them', () => {
  for (const form of ['new', 'old'] as const) {
    const written = objectFile('5', 500, { linked: true })
    const own = { inode: 50n, links: 2 }
    check({
      base: LINKS,
      root: () => folder(ROOT, { one: full(written, own) }),
      index: base => ({
        [handle(findNode(base, 'one') as NodeId, form).toString('hex')]: full(written, own),
        '#12': full(file('being made')),
        'no handle': full(file('x')),
        '00fb': full(file('too short')),
      }),
      expected: { ...LINKS, one: written, 'd/two': written, 'd/e/three': written },
    })
  }
})

test('metadata written through one name of a hard link changes all names and no bytes', () => {
  const changed: Entry = { ...LINKED, mode: 0o100400 }
  check({
    base: LINKS,
    root: base => folder(ROOT, { one: metadataOnly(changed, originOf(base, 'one'), { inode: 50n, links: 2 }) }),
    index: base => ({
      [handle(findNode(base, 'one') as NodeId).toString('hex')]: metadataOnly(changed, originOf(base, 'one'), {
        inode: 50n,
        links: 2,
      }),
    }),
    expected: { ...LINKS, one: changed, 'd/two': changed, 'd/e/three': changed },
  })
})

test('names of a written hard link that HEAD hides, replaces or moves are left alone', () => {
  const written = objectFile('5', 500, { linked: true })
  const own = { inode: 50n, links: 2 }
  check({
    base: LINKS,
    root: () =>
      folder(ROOT, {
        one: full(written, own),
        d: folder(dir(), { two: full(file('another file')), e: whiteout() }),
        n: folder(dir(), {}, [redirect('/d/e')]),
      }),
    index: base => ({ [handle(findNode(base, 'one') as NodeId).toString('hex')]: full(written, own) }),
    expected: {
      '': ROOT,
      one: written,
      d: dir(),
      'd/two': file('another file'),
      n: dir(),
      'n/three': written,
      other: file('o'),
    },
  })
})

test('a written hard link stays one file when the name that was used is gone', () => {
  const written = objectFile('5', 500, { linked: true })
  check({
    base: LINKS,
    root: () => folder(ROOT, { one: whiteout() }),
    index: base => ({
      [handle(findNode(base, 'one') as NodeId).toString('hex')]: full(written, { inode: 50n, links: 1 }),
    }),
    expected: { '': ROOT, d: dir(), 'd/two': written, 'd/e': dir(), 'd/e/three': written, other: file('o') },
  })
})

test('an index entry that is a whiteout or that no name refers to is nothing', () => {
  check({
    base: LINKS,
    root: () => folder(ROOT, {}),
    index: base => ({
      [handle(findNode(base, 'one') as NodeId).toString('hex')]: whiteout(),
      [handle(12345).toString('hex')]: full(file('an orphan')),
    }),
    expected: LINKS,
  })
})

test('links that were torn apart by copying the upperdir are reported', () => {
  const copy = objectFile('6', 600)
  check({
    base: LINKS,
    root: base => folder(ROOT, { one: full(copy, { xattrs: [['trusted.overlay.origin', originOf(base, 'one')]] }) }),
    index: base => ({
      [handle(findNode(base, 'one') as NodeId).toString('hex')]: full(LINKED, { inode: 77n, links: 1 }),
    }),
    expected: { ...LINKS, one: copy },
    torn: ['one'],
  })
})

test('names of one inode in the upperdir are hard links, whatever else they are', () => {
  const twice = file('t', { linked: true })
  const fifo = special(0o010600, 0, { linked: true })
  check({
    base: BASE,
    root: () =>
      folder(ROOT, {
        n1: full(twice, { inode: 90n, links: 2 }),
        f1: full(fifo, { inode: 91n, links: 2 }),
        new: folder(dir(), { n2: full(twice, { inode: 90n, links: 2 }), f2: full(fifo, { inode: 91n, links: 2 }) }, [
          opaque,
        ]),
      }),
    expected: { ...BASE, n1: twice, 'new/n2': twice, f1: fifo, 'new/f2': fifo, new: dir() },
  })
})

test('whiteouts as regular files count where the directory says so, and nowhere else', () => {
  const marked = (): LayerNode => full(file(''), { xattrs: [['trusted.overlay.whiteout', '']] })
  const { 'd/x': _, ...expected } = BASE
  check({
    base: BASE,
    root: () => folder(ROOT, { d: folder(dir(), { x: marked() }, [['trusted.overlay.opaque', 'x']]) }),
    expected,
  })
  check({
    base: BASE,
    root: () => folder(ROOT, { d: folder(dir(), { x: marked() }) }),
    expected: { ...BASE, 'd/x': file('') },
  })
  check({
    base: BASE,
    root: () =>
      folder(ROOT, {
        d: folder(dir(), { x: full(file('not empty'), { xattrs: [['trusted.overlay.whiteout', '']] }) }, [
          ['trusted.overlay.opaque', 'x'],
        ]),
      }),
    expected: { ...BASE, 'd/x': file('not empty') },
  })
})

test("overlayfs' own xattrs are left out, the user's of that name come back, all others stay", () => {
  const xattrs: Xattr[] = [
    ['trusted.overlay.origin', ''],
    ['trusted.overlay.impure', 'y'],
    ['trusted.overlay.uuid', 'u'],
    ['trusted.overlay.stratum', 'mark'],
    ['trusted.overlay.overlay.opaque', 'of the user'],
    ['trusted.overlay.overlay.overlay.deep', 'of a user inside'],
    ['user.overlay.opaque', 'y'],
    ['trusted.other', 't'],
    ['trusted.overlayed', 'no dot'],
    ['btrfs.compression', 'zstd'],
  ]
  const kept: Xattr[] = [
    ['trusted.other', 't'],
    ['trusted.overlay.opaque', 'of the user'],
    ['trusted.overlay.overlay.deep', 'of a user inside'],
    ['trusted.overlayed', 'no dot'],
    ['user.overlay.opaque', 'y'],
  ]
  check({
    base: BASE,
    root: () => folder(ROOT, { a: full(file('a'), { xattrs }), d: folder(dir(), {}, xattrs) }),
    expected: { ...BASE, a: file('a', { xattrs: kept }), d: dir({ xattrs: kept }) },
  })
})

test('a file that vanished before its bytes were read is gone', () => {
  const { a: _, ...expected } = BASE
  check({ base: BASE, root: () => folder(ROOT, { a: node(file('a'), {}, undefined) }), expected })
})

test('a character device 0/0 other than a whiteout cannot come to be, a real device can', () => {
  const { a: _, ...rest } = BASE
  check({
    base: BASE,
    root: () => folder(ROOT, { a: full(special(0o020666, 0x103)) }),
    expected: { ...rest, a: special(0o020666, 0x103) },
  })
})
