import assert from 'node:assert/strict'
import { test } from 'node:test'
import { xxh32 } from '../../src/erofs/xxh32.ts'

test('XXH32 gives the known values', () => {
  const cases: [string, number, number][] = [
    ['', 0, 0x02cc5d05],
    ['a', 0, 0x550d7456],
    ['abc', 0, 0x32d153ff],
    ['Nobody inspects the spammish repetition', 0, 0xe2293b2f],
    ['', 2654435761, 0x36b78ae7],
  ]
  for (const [text, seed, expected] of cases) assert.equal(xxh32(Buffer.from(text), seed), expected, text)
})
