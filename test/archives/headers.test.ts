import assert from 'node:assert/strict'
import { test } from 'node:test'
import tar from 'tar-stream'
import { formatPax, parsePax } from '../../src/archives/pax.ts'
import { decodeHeader, encodeHeader, isTarBlock, type TarHeader } from '../../src/archives/tar-header.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

const ROUNDS = 500

function randomHeader(random: Random): TarHeader {
  const number = (max: number): number => random.pick([0, 1, random.below(max), max])
  return {
    name: 'n'.repeat(1 + random.below(100)),
    mode: number(0o7777),
    uid: number(8 ** 7 - 1),
    gid: number(8 ** 7 - 1),
    size: random.pick([0, 511, 8 ** 11 - 1, 8 ** 11, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER]),
    seconds: number(8 ** 11 - 1),
    type: random.pick(['0', '3', '4']),
    linkName: 'l'.repeat(random.below(101)),
    major: 0,
    minor: 0,
  }
}

test('a header is read as it was written, also with sizes over 8 GiB, which tar-stream reads so too', async () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(ROUNDS); seed++) {
    const random = createRandom(seed)
    const made = randomHeader(random)
    const device = made.type === '0' ? {} : { major: random.below(4096), minor: random.below(2 ** 20) }
    const header = { ...made, ...device }
    const block = encodeHeader(header)
    assert.ok(isTarBlock(block))
    assert.deepEqual(decodeHeader(block), header, `seed ${seed}`)
    const extract = tar.extract()
    const entry = new Promise<tar.Header>(resolve => extract.on('entry', seen => resolve(seen)))
    extract.write(block)
    const { name, size, mode, uid, gid, devminor } = await entry
    extract.destroy()
    const expected = { name: header.name, size: header.size, mode: header.mode, uid: header.uid, gid: header.gid }
    assert.deepEqual({ name, size, mode, uid, gid }, expected, `seed ${seed}: tar-stream`)
    assert.equal(devminor, header.minor)
  }
})

test('pax records come back whatever bytes are in them, around every length of the length', () => {
  for (let length = 0; length < 1200; length++) {
    const records = new Map([
      ['key', 'v'.repeat(length)],
      ['bytes', createRandom(length).bytes(20)],
      ['newlines\n and spaces', '\n=\n9 x=y\n'],
    ])
    assert.deepEqual(parsePax(Buffer.from(formatPax(records), 'latin1')), records)
  }
})
