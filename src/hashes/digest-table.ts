import type { Digest } from './verity.ts'

/**
 * Numbers digests from 0 on. A million of them take some 45 MB (as strings in a Set they take several times that), and nothing is made
 * for one that is in an image already: it is compared where it stands, as eight words of 32 bits.
 */
export interface DigestTable {
  readonly size: number
  /** The number of the digest that begins at this word; it is added if it is new. */
  add(words: Uint32Array, word: number): number
  /** Its number, or -1. */
  find(words: Uint32Array, word: number): number
  addDigest(digest: Digest): number
  findDigest(digest: Digest): number
  digest(number: number): Digest
}

const WORDS = 8
const BYTES = WORDS * 4
/** Digests lie in pieces of this many, so that growing copies none. */
const PIECE_BITS = 15
const PIECE = 1 << PIECE_BITS
const FIRST_SLOTS = 1 << 10
const FULL = 0.6

const scratch = new Uint32Array(WORDS)
const scratchBytes = Buffer.from(scratch.buffer)

export function createDigestTable(): DigestTable {
  const pieces: Uint32Array[] = []
  let slots = new Uint32Array(FIRST_SLOTS) // a number + 1; 0 is an empty slot
  let size = 0
  const pieceOf = (number: number): Uint32Array => pieces[number >>> PIECE_BITS]
  const placeOf = (number: number): number => (number & (PIECE - 1)) * WORDS

  /** The slot of a digest, or the empty one where it belongs. Digests are hashes: their first word spreads them. */
  const slotOf = (words: Uint32Array, word: number): number => {
    const mask = slots.length - 1
    for (let slot = words[word] & mask; ; slot = (slot + 1) & mask) {
      const number = slots[slot] - 1
      if (number < 0 || isSame(pieceOf(number), placeOf(number), words, word)) return slot
    }
  }
  const grow = (): void => {
    slots = new Uint32Array(slots.length * 2)
    for (let number = 0; number < size; number++) slots[slotOf(pieceOf(number), placeOf(number))] = number + 1
  }
  const add = (words: Uint32Array, word: number): number => {
    const slot = slotOf(words, word)
    if (slots[slot] > 0) return slots[slot] - 1
    const number = size++
    if (placeOf(number) === 0) pieces.push(new Uint32Array(PIECE * WORDS))
    const piece = pieceOf(number)
    for (let i = 0, at = placeOf(number); i < WORDS; i++) piece[at + i] = words[word + i]
    slots[slot] = number + 1
    if (size > slots.length * FULL) grow()
    return number
  }
  const find = (words: Uint32Array, word: number): number => slots[slotOf(words, word)] - 1
  return {
    get size() {
      return size
    },
    add,
    find,
    addDigest: digest => add(wordsOf(digest), 0),
    findDigest: digest => find(wordsOf(digest), 0),
    digest(number) {
      const at = placeOf(number) * 4
      return Buffer.from(pieceOf(number).buffer).toString('hex', at, at + BYTES)
    },
  }
}

function isSame(a: Uint32Array, atA: number, b: Uint32Array, atB: number): boolean {
  for (let i = 0; i < WORDS; i++) if (a[atA + i] !== b[atB + i]) return false
  return true
}

/** Good until the next call. */
function wordsOf(digest: Digest): Uint32Array {
  scratchBytes.write(digest, 'hex')
  return scratch
}
