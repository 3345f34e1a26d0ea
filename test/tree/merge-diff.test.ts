import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Image } from '../../src/erofs/arena.ts'
import { findNode } from '../../src/erofs/directory.ts'
import { emptyImage } from '../../src/tree/append.ts'
import { type Difference, eachDifference, viewChanged, viewImage } from '../../src/tree/diff.ts'
import { type Change, childChange, type Entry } from '../../src/tree/entry.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { hashesOfChange, imageOfChange, parseBytes, writeToMemory } from '../support/images.ts'
import { dir, file, link, literal, objectFile } from '../support/literal.ts'
import { createRandom, type Random } from '../support/random.ts'
import { applyChanges, randomChanges, randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

const TREES = 300

function differences(before: Image, after: Image): Difference[] {
  const list: Difference[] = []
  eachDifference(viewImage(before), viewImage(after), difference => list.push(difference))
  return list
}

/** What differences say, as changes: `null` for what is gone, the entry for what is new or other. */
function changesOf(list: readonly Difference[]): Change {
  const root: Change = {}
  for (const { kind, path, after } of list) {
    let at = root
    if (path !== '') for (const name of path.split('/')) at = childChange(at, name)
    if (kind !== '-') at.entry = after as Entry
    else if (at.entry === undefined) at.entry = null
  }
  return root
}

/** Hard links are two entries to a comparison; these trees have none. */
function withoutLinks(change: Change): Change {
  const copy: Change = { ...change }
  if (copy.entry) copy.entry = { ...copy.entry, linked: false }
  if (change.children) copy.children = new Map([...change.children].map(([name, child]) => [name, withoutLinks(child)]))
  return copy
}

function eachSeed(count: number, run: (random: Random, seed: number) => void): void {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(count); seed++) run(createRandom(seed), seed)
}

test('equal trees have no differences, even if each came from elsewhere', () => {
  eachSeed(TREES, (random, seed) => {
    const tree = randomTree(random, random.pick([5, 40]))
    const image = imageOfChange(tree)
    assert.deepEqual(differences(image, image), [], `seed ${seed}`)
    assert.deepEqual(differences(image, imageOfChange(tree)), [], `seed ${seed}`)
  })
})

test('applying the differences of two trees to the first gives the second', () => {
  eachSeed(TREES, (random, seed) => {
    const before = withoutLinks(randomTree(random, random.pick([5, 40])))
    const changes = withoutLinks(randomChanges(random, before, random.pick([1, 5, 30])))
    const after = random.chance(0.2) ? withoutLinks(randomTree(random, 20)) : applyChanges(before, changes)
    const [a, b] = [imageOfChange(before), imageOfChange(after)]
    const merged = mergeTree(a, changesOf(differences(a, b)))
    assert.deepEqual(hashTree(merged), hashesOfChange(after), `seed ${seed}`)
  })
})

test('differences point the same way back', () => {
  eachSeed(TREES, (random, seed) => {
    const before = randomTree(random, random.pick([5, 40]))
    const after = applyChanges(before, randomChanges(random, before, 10))
    const [a, b] = [imageOfChange(before), imageOfChange(after)]
    const turned = { '+': '-', '-': '+', M: 'M', T: 'T' } as const
    const back = differences(b, a).map(({ kind, path }) => `${turned[kind]} ${path}`)
    assert.deepEqual(
      differences(a, b)
        .map(({ kind, path }) => `${kind} ${path}`)
        .sort(),
      back.sort(),
      `seed ${seed}`,
    )
  })
})

test('a tree with changes that no image was made of yet is compared like the image', () => {
  eachSeed(TREES, (random, seed) => {
    const before = randomTree(random, random.pick([5, 40]))
    const changes = randomChanges(random, before, random.pick([1, 5, 30]))
    const image = imageOfChange(before)
    const seen: Difference[] = []
    eachDifference(viewImage(image), viewChanged(image, changes), difference => seen.push(difference))
    const after = parseBytes(writeToMemory(mergeTree(imageOfChange(before), changes)).bytes)
    const strip = (list: Difference[]): string[] =>
      list.map(({ kind, path, contentChanged }) => `${kind} ${contentChanged} ${path}`)
    assert.deepEqual(strip(seen), strip(differences(image, after)), `seed ${seed}`)
  })
})

test('what is reported is in depth-first order by bytes and names each path once', () => {
  eachSeed(50, (random, seed) => {
    const before = randomTree(random, 40)
    const list = differences(imageOfChange(before), imageOfChange(randomTree(random, 40)))
    const keys = list.map(({ path }) => path.split('/').join('\0'))
    assert.deepEqual(keys, [...keys].sort(), `seed ${seed}`)
    assert.equal(new Set(keys).size, keys.length, `seed ${seed}`)
  })
})

test('the hash does not depend on the order in which names and xattrs were met', () => {
  eachSeed(TREES, (random, seed) => {
    const tree = randomTree(random, random.pick([5, 40]))
    assert.deepEqual(hashesOfChange(shuffled(random, tree, new Map())), hashesOfChange(tree), `seed ${seed}`)
  })
})

function shuffled(random: Random, change: Change, known: Map<Entry, Entry>): Change {
  const copy: Change = {}
  if (change.entry) {
    const entry = known.get(change.entry) ?? { ...change.entry, xattrs: shuffle(random, change.entry.xattrs) }
    known.set(change.entry, entry)
    copy.entry = entry
  }
  const children = shuffle(random, [...(change.children ?? [])])
  if (change.children)
    copy.children = new Map(children.map(([name, child]) => [name, shuffled(random, child, known)] as const))
  return copy
}

function shuffle<T>(random: Random, list: readonly T[]): T[] {
  const copy = [...list]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    ;[copy[i], copy[j]] = [copy[j], copy[i]]
  }
  return copy
}

test('each field of an entry is in the hash', () => {
  const base = { '': dir(), a: file('x'), d: dir(), s: link('t'), o: objectFile('1', 100) }
  const variants: Record<string, Parameters<typeof literal>[0]> = {
    nothing: {},
    name: { a: { ...file('x'), mode: 0o100644 }, b: file('x') },
    mode: { a: file('x', { mode: 0o600 }) },
    suid: { a: file('x', { mode: 0o4644 }) },
    uid: { a: file('x', { uid: 1 }) },
    gid: { a: file('x', { gid: 1 }) },
    seconds: { a: file('x', { seconds: 999_999_999 }) },
    'negative seconds': { a: file('x', { seconds: -1 }) },
    'far seconds': { a: file('x', { seconds: 2 ** 40 }) },
    nanoseconds: { a: file('x', { nanoseconds: 6 }) },
    content: { a: file('y') },
    length: { a: file('xx') },
    xattr: { a: file('x', { xattrs: [['user.a', '']] }) },
    'xattr value': { a: file('x', { xattrs: [['user.a', 'b']] }) },
    'xattr of a directory': { d: dir({ xattrs: [['user.a', '']] }) },
    'xattr of the root': { '': dir({ xattrs: [['user.a', '']] }) },
    'mode of the root': { '': dir({ mode: 0o700 }) },
    type: { a: dir() },
    target: { s: link('u') },
    digest: { o: objectFile('2', 100) },
    size: { o: objectFile('1', 101) },
    'an empty directory': { e: dir() },
    'one level down': { 'd/a': file('x') },
  }
  const seen = new Map<string, string>()
  for (const [what, change] of Object.entries(variants)) {
    const { id, merkleRoot } = hashesOfChange(literal({ ...base, ...change }))
    for (const hash of [id, merkleRoot]) {
      assert.equal(seen.get(hash), undefined, `${what} has the hash of ${seen.get(hash)}`)
      seen.set(hash, what)
    }
  }
})

test('two files of one content are not one file with two names', () => {
  const one = file('x', { linked: true })
  const separate = literal({ '': dir(), a: file('x'), b: file('x') })
  const linked = literal({ '': dir(), a: one, b: one })
  assert.notEqual(hashesOfChange(separate).id, hashesOfChange(linked).id)
  assert.equal(hashesOfChange(linked).files, 2)
  assert.equal(hashesOfChange(linked).bytes, 1)
})

test('a subtree that moves takes everything below it along', () => {
  const shared = file('shared', { linked: true })
  const deep = { 'd/e': dir({ mode: 0o711 }), 'd/e/f': objectFile('3', 5000), 'd/e/l': shared, 'd/s': link('e/f') }
  const before = imageOfChange(literal({ '': dir(), d: dir(), ...deep, 'd/gone': file('x'), k: shared, o: file('o') }))
  const moved: Change = {
    children: new Map<string, Change>([
      ['d', { entry: null }],
      ['o', { entry: null }],
      ['n', { from: findNode(before, 'd') as number, children: new Map([['gone', { entry: null }]]) }],
      ['p', { from: findNode(before, 'o') as number }],
    ]),
  }
  const renamed = Object.fromEntries(Object.entries(deep).map(([path, entry]) => [path.replace(/^d/, 'n'), entry]))
  const expected = literal({ '': dir(), n: dir(), ...renamed, k: shared, p: file('o') })
  assert.deepEqual(hashTree(mergeTree(before, moved)), hashesOfChange(expected))
  assert.ok(
    writeToMemory(mergeTree(before, moved)).bytes.equals(writeToMemory(mergeTree(emptyImage(), expected)).bytes),
  )
})

/** All paths of a tree but the root's. */
function pathsOf(tree: Change): string[] {
  const paths: string[] = []
  const visit = (change: Change, before: string): void => {
    for (const [name, child] of change.children ?? []) {
      paths.push(before + name)
      visit(child, `${before}${name}/`)
    }
  }
  visit(tree, '')
  return paths
}

function changeAt(tree: Change, path: string): Change {
  return path.split('/').reduce((change, name) => change.children?.get(name) as Change, tree)
}

/** Moves some subtrees of a tree elsewhere and changes something in them, as changes of its image and plainly. */
function randomMoves(random: Random, tree: Change, image: Image): { changes: Change; expected: Change } {
  const changes: Change = {}
  const expected = copyOf(tree)
  const moved: string[] = []
  for (let tries = random.pick([1, 3, 6]); tries > 0; tries--) {
    const all = pathsOf(tree)
    if (all.length === 0) break
    const source = random.pick(all)
    const isApart = (path: string): boolean =>
      moved.every(other => !`${path}/`.startsWith(`${other}/`) && !`${other}/`.startsWith(`${path}/`))
    const targets = ['', ...all].filter(path => {
      const entry = path === '' ? tree.entry : changeAt(tree, path).entry
      return entry && entry.mode >> 12 === 4 && !`${path}/`.startsWith(`${source}/`) && isApart(`${path}/x`)
    })
    if (!isApart(source) || targets.length === 0) continue
    moved.push(source)
    const target = random.pick(targets)
    const name = `moved ${moved.length}`
    const to = (at: Change): Change => childChange(target === '' ? at : walkTo(at, target), name)
    walkTo(changes, source).entry = null
    const change = to(changes)
    change.from = findNode(image, source) as number
    const subtree = copyOf(changeAt(tree, source))
    const place = to(expected)
    place.entry = subtree.entry ?? null
    if (subtree.children !== undefined) place.children = subtree.children
    if (subtree.entry && subtree.entry.mode >> 12 === 4 && random.chance(0.5)) {
      childChange(change, 'new').entry = file('new')
      childChange(place, 'new').entry = file('new')
    }
    const parent = source.includes('/') ? changeAt(expected, source.slice(0, source.lastIndexOf('/'))) : expected
    parent.children?.delete(source.slice(source.lastIndexOf('/') + 1))
  }
  return { changes, expected }
}

function walkTo(change: Change, path: string): Change {
  return path.split('/').reduce(childChange, change)
}

/** With entries as they are: they say which names are hard links. */
function copyOf(change: Change): Change {
  const copy: Change = change.entry === undefined ? {} : { entry: change.entry }
  if (change.children) copy.children = new Map([...change.children].map(([name, child]) => [name, copyOf(child)]))
  return copy
}

test('random subtrees that move give the tree that was made at once, and compare like it', () => {
  eachSeed(TREES, (random, seed) => {
    const tree = randomTree(random, random.pick([5, 40]))
    const image = imageOfChange(tree)
    const { changes, expected } = randomMoves(random, tree, image)
    const merged = mergeTree(imageOfChange(tree), changes)
    assert.deepEqual(hashTree(merged), hashesOfChange(expected), `seed ${seed}`)
    assert.ok(
      writeToMemory(merged).bytes.equals(writeToMemory(mergeTree(emptyImage(), expected)).bytes),
      `seed ${seed}`,
    )
    const seen: string[] = []
    eachDifference(viewImage(image), viewChanged(image, changes), ({ kind, path }) => seen.push(`${kind} ${path}`))
    const wanted = differences(image, imageOfChange(expected)).map(({ kind, path }) => `${kind} ${path}`)
    assert.deepEqual(seen, wanted, `seed ${seed}`)
  })
})

test('a file that becomes a directory has nothing below it but what is put there', () => {
  for (const was of [file('some bytes that are no directory'), link('target'), objectFile('1', 100)]) {
    const before = imageOfChange(literal({ '': dir(), a: was }))
    const change = literal({ a: dir(), 'a/b': file('x') })
    const list: string[] = []
    eachDifference(viewImage(before), viewChanged(before, change), ({ kind, path }) => list.push(`${kind} ${path}`))
    assert.deepEqual(list, ['T a', '+ a/b'])
    assert.deepEqual(
      hashTree(mergeTree(before, change)),
      hashesOfChange(literal({ '': dir(), a: dir(), 'a/b': file('x') })),
    )
  }
})
