import { createArena, type Image } from '../../src/erofs/arena.ts'
import { parseImage } from '../../src/erofs/parse-image.ts'
import { planImage } from '../../src/images/layout.ts'
import { writeImage } from '../../src/images/write-image.ts'
import { emptyImage } from '../../src/tree/append.ts'
import type { Change } from '../../src/tree/entry.ts'
import { hashTree, type TreeHashes } from '../../src/tree/hash-tree.ts'
import { mergeTree } from '../../src/tree/merge.ts'
import type { Tree } from '../../src/tree/tree.ts'

/** The bytes of a tree's image and their fs-verity digest. */
export function writeToMemory(tree: Tree): { bytes: Buffer; digest: string } {
  const layout = planImage(tree)
  const bytes = Buffer.alloc(layout.bytes)
  const digest = writeImage(tree, layout, (piece, position) => bytes.set(piece, position))
  return { bytes, digest }
}

export function parseBytes(bytes: Buffer): Image {
  const arena = createArena(bytes.length)
  arena.bytes.set(bytes)
  return parseImage(arena, bytes.length)
}

/** The image of a tree that is given as changes of nothing, as a reader has it. */
export function imageOfChange(change: Change): Image {
  return parseBytes(writeToMemory(mergeTree(emptyImage(), change)).bytes)
}

export function hashesOfChange(change: Change): TreeHashes {
  return hashTree(mergeTree(emptyImage(), change))
}
