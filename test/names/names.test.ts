import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { type CommitId, isCommitId, isCommitPrefix } from '../../src/names/commit-id.ts'
import { isLabel, type Label, labelFolder, labelOfFolder, parseLabel, quote } from '../../src/names/label.ts'
import { formatReference, parseReference } from '../../src/names/reference.ts'
import { checkTagFor, isTag, parseTag, type Tag } from '../../src/names/tag.ts'

const HEX = '0123456789abcdef'
const ALNUM = 'abcdefghijklmnopqrstuvwxyz0123456789'
const TAG_LETTERS = `${ALNUM}ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-`

const word = fc.string({ unit: fc.constantFrom(...ALNUM.split('')), minLength: 1, maxLength: 8 })
const separator = fc.oneof(
  fc.constantFrom('.', '_', '__'),
  fc.integer({ min: 1, max: 4 }).map(n => '-'.repeat(n)),
)
const component = fc
  .tuple(word, fc.array(fc.tuple(separator, word), { maxLength: 3 }))
  .map(([first, rest]) => first + rest.flat().join(''))
const labels = fc
  .array(component, { minLength: 1, maxLength: 4 })
  .map(parts => parts.join('/'))
  .filter(text => text.replaceAll('/', '%2F').length <= 255)
const tags = fc
  .string({ unit: fc.constantFrom(...TAG_LETTERS.split('')), minLength: 1, maxLength: 128 })
  .filter(text => !/^[.-]/.test(text) && text.toUpperCase() !== 'HEAD')
const ids = fc.string({ unit: fc.constantFrom(...HEX.split('')), minLength: 64, maxLength: 64 })

function refuses(call: () => unknown, what: string): void {
  assert.throws(call, error => isStratumError(error, 'usage') && error.message.length < 400, what)
}

const BAD_LABELS = [
  ['', 'empty'],
  ['.', 'the folder itself'],
  ['..', 'the folder above'],
  ['a/..', 'a part that is ..'],
  ['../a', 'a way out'],
  ['/', 'no parts'],
  ['/a', 'an empty first part'],
  ['a/', 'an empty last part'],
  ['a//b', 'an empty part'],
  ['A', 'upper case'],
  ['Web', 'upper case'],
  ['a b', 'a space'],
  ['a\n', 'a newline at the end'],
  ['a\0', 'NUL'],
  ['a\0b', 'NUL inside'],
  ['a:b', 'a colon'],
  ['a@b', 'an at sign'],
  ['a%2Fb', 'an escaped slash'],
  ['a%2fb', 'an escaped slash in lower case'],
  ['a?b', 'a question mark'],
  ['.a', 'a dot first'],
  ['a.', 'a dot last'],
  ['a..b', 'two dots'],
  ['a___b', 'three underscores'],
  ['a._b', 'two kinds of separators'],
  ['-a', 'a dash first'],
  ['a-', 'a dash last'],
  ['_a', 'an underscore first'],
  ['ä', 'a letter that is not ASCII'],
  ['\u0430', 'a Cyrillic letter that looks like a'],
  ['a\u202eb', 'a direction mark'],
  ['a\ud800', 'half a surrogate pair'],
  ['\uff41', 'a full-width letter'],
  ['a\u0301', 'a combining accent'],
  ['a'.repeat(256), '256 bytes'],
  [`${'a/'.repeat(127)}a`, '255 letters that are more when escaped'],
] as const

test('a label is an OCI repository name that fits into one folder name', () => {
  for (const text of ['a', '0', 'a.b', 'a_b', 'a__b', 'a-b', 'a----b', 'team-a/web', 'a/b/c/d', 'models/llama_3.1'])
    assert.equal(parseLabel(text), text)
  assert.equal(parseLabel('a'.repeat(255)).length, 255)
  for (const [text, why] of BAD_LABELS) {
    assert.equal(isLabel(text), false, why)
    refuses(() => parseLabel(text), why)
  }
})

test('every label has a folder of its own, and every folder at most one label', () => {
  fc.assert(
    fc.property(labels, text => {
      const folder = labelFolder(parseLabel(text))
      assert.equal(labelOfFolder(folder), text)
      assert.ok(!folder.includes('/') && folder.length <= 255)
    }),
  )
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '%', '2', 'F', 'f', '/', '.') }), name => {
      const label = labelOfFolder(name)
      if (label !== undefined) assert.equal(labelFolder(label), name)
    }),
    { numRuns: 1000 },
  )
  for (const name of ['', '.', '..', 'a%2fb', 'a/b', '%2F', 'a%2F', '%2Fa', 'a%2F..', '.new-1-0-a', 'lost+found', 'A'])
    assert.equal(labelOfFolder(name), undefined, name)
})

const BAD_TAGS = [
  ['', 'empty'],
  ['.', 'a dot first'],
  ['..', 'the folder above'],
  ['.hidden', 'a dot first'],
  ['-force', 'looks like an option'],
  ['a/b', 'a slash'],
  ['a:b', 'a colon'],
  ['a@b', 'an at sign'],
  ['a b', 'a space'],
  ['a+b', 'a plus'],
  ['a\n', 'a newline at the end'],
  ['a\0', 'NUL'],
  ['HEAD', 'reserved'],
  ['head', 'reserved in lower case'],
  ['Head', 'reserved in any case'],
  ['hEaD', 'reserved in any case'],
  ['ä', 'not ASCII'],
  ['v\u0661', 'an Arabic digit'],
  ['\u212aelvin', 'a sign that folds to k'],
  ['a\u200b', 'a space of no width'],
  ['a'.repeat(129), '129 letters'],
  ['a'.repeat(256), '256 bytes'],
] as const

test('a tag is an OCI tag and never HEAD', () => {
  for (const text of ['a', '_', '0', 'v1.0', 'A-B_c.d', 'HEADS', 'head.1', 'latest', 'a..b', 'a'.repeat(128)])
    assert.equal(parseTag(text), text)
  for (const [text, why] of BAD_TAGS) {
    assert.equal(isTag(text), false, why)
    refuses(() => parseTag(text), why)
  }
})

test('a tag that is a commit id may only name that commit', () => {
  const [id, other] = ['a'.repeat(64), 'b'.repeat(64)] as unknown as [CommitId, CommitId]
  checkTagFor(id as unknown as Tag, id)
  checkTagFor('v1' as Tag, id)
  checkTagFor('A'.repeat(64) as Tag, id) // upper case is no commit id
  refuses(() => checkTagFor(other as unknown as Tag, id), 'the id of another')
})

test('commit ids have 64 digits, prefixes at least 8', () => {
  fc.assert(
    fc.property(ids, fc.integer({ min: 0, max: 64 }), (id, length) => {
      assert.ok(isCommitId(id))
      assert.equal(isCommitPrefix(id.slice(0, length)), length >= 8)
      assert.equal(isCommitId(id.slice(0, length)), length === 64)
    }),
  )
  for (const text of ['', 'a'.repeat(63), 'a'.repeat(65), 'A'.repeat(64), `${'a'.repeat(63)}g`, `${'a'.repeat(64)}\n`])
    assert.ok(!isCommitId(text), text)
})

test('a reference is read as it was written', () => {
  fc.assert(
    fc.property(labels, fc.oneof(tags, ids, fc.constant(undefined)), (label, name) => {
      const text = name === undefined ? label : `${label}:${name}`
      const reference = parseReference(text)
      assert.equal(formatReference(reference), text)
      assert.equal(reference.label, label as Label)
      assert.equal(reference.kind, name === undefined ? 'head' : 'name')
    }),
  )
  for (const text of ['app:HEAD', 'app:head', 'app:Head']) assert.equal(parseReference(text).kind, 'head')
})

test('what is no reference is refused with a short message', () => {
  const bad = [
    ...BAD_LABELS.map(([text]) => text),
    ...BAD_TAGS.filter(([text]) => text.toUpperCase() !== 'HEAD').map(([text]) => `app:${text}`),
    ':',
    ':v1',
    'app:',
    'app::v1',
    'app:v1:v2',
    'app@v1',
    'a'.repeat(64).toUpperCase(),
    `app:${'x'.repeat(100_000)}`,
  ].filter(text => text !== 'a:b')
  for (const text of bad) refuses(() => parseReference(text), JSON.stringify(text).slice(0, 80))
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      try {
        assert.equal(
          formatReference(parseReference(text))
            .toLowerCase()
            .replace(/:head$/, ''),
          text.toLowerCase().replace(/:head$/, ''),
        )
      } catch (error) {
        assert.ok(isStratumError(error, 'usage'))
      }
    }),
  )
})

test('foreign text in a message can do nothing to a terminal', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), text => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      assert.doesNotMatch(quote(text), /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/)
      assert.ok(quote(text).length < 1000)
    }),
  )
})
