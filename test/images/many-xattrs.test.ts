import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Xattr } from '../../src/erofs/xattrs.ts'
import { emptyImage } from '../../src/tree/append.ts'
import type { Entry } from '../../src/tree/entry.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { parseBytes, writeToMemory } from '../support/images.ts'
import { dir, file, literal } from '../support/literal.ts'
import { createRandom, type Random } from '../support/random.ts'
import { applyChanges } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/** An inode refers to at most 128 shared xattrs and holds the others itself: trees around that number, made at once and from a parent. */
const TREES = 60

function xattrs(count: number, from = 0): Xattr[] {
  return Array.from({ length: count }, (_, i) => [`user.x${String(i + from).padStart(4, '0')}`, `value ${i + from}`])
}

function assertSame(
  before: Readonly<Record<string, Entry>>,
  changes: Readonly<Record<string, Entry | null>>,
  what: string,
): void {
  const tree = literal(before)
  const change = literal(changes as Record<string, Entry>)
  const merged = writeToMemory(mergeTree(parseBytes(writeToMemory(mergeTree(emptyImage(), tree)).bytes), change))
  const atOnce = writeToMemory(mergeTree(emptyImage(), applyChanges(tree, change)))
  assert.ok(merged.bytes.equals(atOnce.bytes), what)
}

for (const count of [127, 128, 129, 130, 200, 300]) {
  test(`two files with the same ${count} xattrs come out of a parent as they would at once`, () => {
    const before = {
      '': dir(),
      a: file('a', { xattrs: xattrs(count) }),
      b: file('b', { xattrs: xattrs(count) }),
      c: file('c'),
    }
    assertSame(before, { c: file('changed') }, 'another file changes')
    assertSame(before, { c: null }, 'another file goes')
    assertSame(before, { b: null }, 'one of them goes')
    assertSame(before, { b: file('b', { xattrs: xattrs(count - 1) }) }, 'one loses its last xattr')
    assertSame(before, { b: file('b', { xattrs: xattrs(count - 1, 1) }) }, 'one loses its first xattr')
    assertSame(before, { d: file('d', { xattrs: xattrs(3, count - 2) }) }, 'a third has the last ones')
    assertSame(before, { d: file('d', { xattrs: xattrs(count) }) }, 'a third has all')
  })
}

function randomFiles(random: Random, names: readonly string[]): Record<string, Entry> {
  const files: Record<string, Entry> = {}
  for (const name of names)
    files[name] = file(name, {
      xattrs: xattrs(random.pick([1, 5, 100, 128, 129, 140]), random.pick([0, 0, 1, 20, 500])),
    })
  return files
}

test('random files with many xattrs come out of a parent as they would at once', () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const before = { '': dir(), ...randomFiles(random, ['a', 'b', 'c', 'd', 'e']) }
    const changes = randomFiles(random, random.pick([['a'], ['x'], ['b', 'x'], ['c', 'd', 'y']]))
    assertSame(before, random.chance(0.3) ? { ...changes, e: null } : changes, `seed ${seed}`)
  }
})
