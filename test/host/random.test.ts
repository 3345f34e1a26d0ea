import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomHex, randomUuid } from '../../src/host/random.ts'

test('random names have two digits for each byte, and no two are the same', () => {
  const names = Array.from({ length: 1000 }, () => randomHex(8))
  assert.ok(names.every(name => /^[0-9a-f]{16}$/.test(name)))
  assert.equal(new Set(names).size, names.length)
  assert.equal(randomHex(256).length, 512)
})

test('a UUID is one of version 4, another each time', () => {
  const [one, other] = [randomUuid(), randomUuid()]
  for (const id of [one, other])
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.notEqual(one, other)
})
