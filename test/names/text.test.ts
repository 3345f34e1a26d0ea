import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { fromUser, nodePath, toUser } from '../../src/names/text.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const HARMFUL = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/

test('text of a user comes back as it was, except for what could play with a terminal', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), text => {
      if (HARMFUL.test(text) || text.includes('\ufffd')) return
      assert.equal(toUser(fromUser(text)), text)
    }),
  )
  for (const text of ['ä', '日本語', '🙂', '/a/b c', '\\x41', "it's"]) assert.equal(toUser(fromUser(text)), text)
})

test('text inside has one character for each byte', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), text => {
      const inside = fromUser(text)
      assert.ok(inside.split('').every(character => character.charCodeAt(0) < 256))
      assert.deepEqual(nodePath(inside), Buffer.from(text, 'utf8'))
    }),
  )
})

test('any bytes can be shown', () => {
  fc.assert(
    fc.property(fc.uint8Array(), bytes => {
      const shown = toUser(Buffer.from(bytes).toString('latin1'))
      assert.doesNotMatch(shown, HARMFUL)
      assert.ok(!shown.includes('\ufffd'))
    }),
    { numRuns: 500 },
  )
  assert.equal(toUser('a\xffb'), 'a\\xffb')
  assert.equal(toUser('\x1b[31m'), '\\x1b[31m')
  assert.equal(toUser(fromUser('a\u202eb')), 'a\\u202eb')
})
