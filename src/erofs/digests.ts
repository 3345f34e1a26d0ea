import type { Image, NodeId } from './arena.ts'
import { eachEntry } from './directory.ts'
import { DT, SLOT } from './format.ts'
import { createInode, readInode } from './inode.ts'
import { digestAt } from './xattrs.ts'

/** `overlay.metacopy` and the header of its value, as words: what stands before every digest in an image. */
const BEFORE_DIGEST = [0x7265766f, 0x2e79616c, 0x6174656d, 0x79706f63, 0x01002400] as const
const DIGEST_WORDS = 8

export type OnDigest = (words: Uint32Array, word: number) => void

/**
 * Calls `each` with the word at which a digest of an object begins, for every one that the image names, some of them more than once. It
 * looks for the bytes that stand before a digest and follows no structure: it cannot miss one that a mount would find, and what only
 * looks like one keeps an object too many.
 */
export function eachDigest(image: Image, each: OnDigest): void {
  search(image.arena.u32, (image.firstAdded * SLOT) / 4, each)
}

/** The same in bytes that need not be an image. */
export function eachDigestIn(bytes: Uint8Array, each: OnDigest): void {
  const words = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~3)))
  search(words, words.length, each)
}

/** Every fifth word is looked at: one of those that stand before a digest is among them. */
function search(words: Uint32Array, length: number, each: OnDigest): void {
  const [first, second, third, fourth, header] = BEFORE_DIGEST
  const stride = BEFORE_DIGEST.length
  const end = length - stride - DIGEST_WORDS
  for (let at = stride - 1; at < length; at += stride) {
    const word = words[at]
    // The place where `overlay.metacopy` would begin, were this word a part of it.
    let begin: number
    if (word === header) begin = at - 4
    else if (word === fourth) begin = at - 3
    else if (word === third) begin = at - 2
    else if (word === second) begin = at - 1
    else if (word === first) begin = at
    else continue
    if (begin > end || words[begin] !== first || words[begin + 1] !== second || words[begin + 2] !== third) continue
    if (words[begin + 3] === fourth && words[begin + 4] === header) each(words, begin + stride)
  }
}

/** A name of a regular file whose bytes are in an object. */
export interface ObjectFile {
  /** From the root, latin1. */
  readonly path: string
  readonly size: number
  /** Where its digest stands, for a DigestTable. */
  readonly words: Uint32Array
  readonly word: number
}

/** Calls `each` for every name of a file that has an object, in depth-first order. */
export function eachObjectFile(image: Image, each: (file: ObjectFile) => void): void {
  const inode = createInode()
  const visit = (directory: NodeId, before: string): void => {
    eachEntry(image, directory, (name, node, type) => {
      if (type === DT.directory) visit(node, `${before}${name}/`)
      else if (type === DT.regular) {
        const at = digestAt(image, node, readInode(image, node, inode))
        if (at >= 0) each({ path: before + name, size: inode.size, words: image.arena.u32, word: at / 4 })
      }
    })
  }
  visit(image.root, '')
}
