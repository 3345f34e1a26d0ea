import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createArena, type Image } from '../../src/erofs/arena.ts'
import { eachEntry, findNode } from '../../src/erofs/directory.ts'
import { AT, SLOT } from '../../src/erofs/format.ts'
import { createInode, readData, readInode } from '../../src/erofs/inode.ts'
import { parseImage } from '../../src/erofs/parse-image.ts'
import { digestAt, userXattrs } from '../../src/erofs/xattrs.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { planImage } from '../../src/images/layout.ts'
import { emptyImage } from '../../src/tree/append.ts'
import { eachDifference, viewImage } from '../../src/tree/diff.ts'
import { hashTree } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import { readEntry } from '../../src/tree/read-entry.ts'
import { imageOfChange, parseBytes, writeToMemory } from '../support/images.ts'
import { dir, file, link, literal, objectFile, special } from '../support/literal.ts'
import { createRandom, type Random } from '../support/random.ts'
import { randomTree } from '../support/random-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/**
 * An image whose digest is right and whose content makes no sense can only come from somebody who wrote the store. Whoever reads one gets an
 * integrity error, or a tree; never an endless loop, another error or all memory.
 */
const IMAGES = 60
const DAMAGES = 60

function bytesOf(random: Random, names: number): Buffer {
  return writeToMemory(mergeTree(emptyImage(), randomTree(random, names))).bytes
}

/** Everything that reads images, each by itself: one that throws does not spare the next. */
const READERS: Record<string, (image: Image) => void> = {
  walk: image => {
    const visit = (node: number, path: string): void => {
      const inode = readInode(image, node, createInode())
      userXattrs(image, node, inode)
      if (inode.mode >> 12 === 8) digestAt(image, node, inode)
      if (inode.mode >> 12 === 4) eachEntry(image, node, (name, child) => visit(child, `${path}/${name}`))
      else readData(image, node, inode)
    }
    visit(image.root, '')
  },
  find: image => {
    for (const path of ['a', 'a/b', '00', 'b/c/d']) {
      const node = findNode(image, path)
      if (node !== undefined) readEntry(image, node)
    }
  },
  compare: image => eachDifference(viewImage(image), viewImage(OTHER), () => undefined),
  hash: image => void hashTree(mergeTree(image, {})),
  plan: image => void planImage(mergeTree(image, {})),
  write: image => void writeToMemory(mergeTree(image, {})),
}
const OTHER = imageOfChange(literal({ '': dir(), a: file('x') }))

function survives(bytes: Buffer, what: string): number {
  let refused = 0
  let image: Image
  try {
    image = parseBytes(bytes)
  } catch (error) {
    assert.ok(isStratumError(error, 'integrity'), `${what}: ${String(error)}`)
    return 1
  }
  for (const [reader, read] of Object.entries(READERS)) {
    try {
      read(image)
    } catch (error) {
      assert.ok(isStratumError(error, 'integrity'), `${what}, ${reader}: ${String((error as Error).stack)}`)
      refused++
    }
  }
  return refused
}

/** Numbers that are likely to hurt: all bits, signs, sizes of blocks, and small ones. */
const HURTING = [0, 1, 2, 12, 127, 128, 255, 4095, 4096, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]

function damage(random: Random, bytes: Buffer): void {
  // Most of an image are the 256 hidden names, so the beginning is hit more often than its share.
  const limit = random.chance(0.3) ? bytes.length : Math.min(bytes.length, 1152 + 512)
  const at = random.below(limit)
  const kind = random.below(5)
  if (kind === 0) bytes[at] ^= 1 << random.below(8)
  else if (kind === 1) bytes[at] = random.below(256)
  else if (kind === 2) bytes.writeUInt16LE(random.pick(HURTING) & 0xffff, at & ~1)
  else if (kind === 3) bytes.writeUInt32LE(random.pick(HURTING), at & ~3)
  else bytes.copy(bytes, at & ~31, random.below(bytes.length / SLOT) * SLOT, (at & ~31) + SLOT)
}

test('an image with damaged bytes is an integrity error or a tree', () => {
  let refused = 0
  for (let seed = firstSeed(); seed < firstSeed() + scaled(IMAGES); seed++) {
    const random = createRandom(seed)
    const original = bytesOf(random, random.pick([3, 20, 150]))
    assert.equal(survives(original, `seed ${seed}`), 0)
    for (let i = 0; i < DAMAGES; i++) {
      const bytes = Buffer.from(original)
      for (let times = random.pick([1, 1, 2, 8]); times > 0; times--) damage(random, bytes)
      refused += survives(bytes, `seed ${seed}, damage ${i}`)
    }
  }
  assert.ok(refused > 1000, `only ${refused} refusals: the damage does not reach what matters`)
})

test('an image that is cut anywhere, or too long, is refused', () => {
  const original = bytesOf(createRandom(1), 40)
  for (const length of [0, 1, 31, 32, 1023, 1024, 1151, 1152, 4095, 4096, original.length - 4096, original.length - 1])
    assert.throws(
      () => parseBytes(original.subarray(0, Math.min(length, original.length - 1))),
      error => isStratumError(error, 'integrity'),
      `${length} bytes`,
    )
  assert.throws(
    () => parseBytes(Buffer.concat([original, Buffer.alloc(4096)])),
    error => isStratumError(error, 'integrity'),
  )
})

test('each number of the superblock that does not fit the image is refused', () => {
  const original = bytesOf(createRandom(2), 10)
  for (const [at, value] of [
    [0, 0],
    [4, 2],
    [AT.magic, 0xe0f5e1e3],
    [AT.blockBits, 9],
    [AT.blocks, 1],
    [AT.blocks, 0xffffffff],
    [AT.inodes, 0xffffffff],
  ]) {
    const bytes = Buffer.from(original)
    if (at === AT.blockBits) bytes[at] = value
    else bytes.writeUInt32LE(value, at)
    assert.throws(
      () => parseBytes(bytes),
      error => isStratumError(error, 'integrity'),
      `offset ${at}`,
    )
  }
})

test('a directory inside itself ends', () => {
  const change = literal({ '': dir(), a: dir(), 'a/b': dir(), 'a/b/c': file('x') })
  const bytes = writeToMemory(mergeTree(emptyImage(), change)).bytes
  const image = parseBytes(Buffer.from(bytes))
  const [a, b] = [findNode(image, 'a') as number, findNode(image, 'a/b') as number]
  for (const target of [a, image.root, b]) {
    const forged = Buffer.from(bytes)
    const inode = readInode(image, a, createInode())
    const tail = a * SLOT + inode.headBytes + inode.xattrBytes
    for (let at = tail; at < tail + 36; at += 12)
      if (forged.readUInt32LE(at) === b && target !== b) forged.writeUInt32LE(target, at)
    assert.equal(survives(forged, 'cycle') > 0, target !== b)
  }
})

test('bytes of another file are not taken for an image', () => {
  const arena = createArena(1 << 16)
  for (const fill of ['\0', 'not an image ', '\xff']) {
    arena.bytes.fill(fill, 'latin1')
    assert.throws(
      () => parseImage(arena, 1 << 16),
      error => isStratumError(error, 'integrity'),
    )
  }
})

test('a node number from elsewhere is no inode', () => {
  const change = literal({ '': dir(), a: objectFile('1', 100), s: link('x'), p: special(0o010600) })
  const image = imageOfChange(change)
  for (const node of [0, 1, 35, image.firstAdded, image.firstAdded + 1000, 2 ** 32, 2 ** 45, Number.NaN, -1])
    assert.throws(
      () => readInode(image, node, createInode()),
      error => isStratumError(error, 'integrity'),
      String(node),
    )
})
