import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import crypto from 'node:crypto'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { createByteReader } from '../../src/archives/byte-reader.ts'
import { decompressed } from '../../src/archives/decompress.ts'
import { isStratumError } from '../../src/errors/stratum-error.ts'
import { createRandom, type Random } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

const ROUNDS = 150
const PLAIN = crypto.randomBytes(1_000_000)
const ZSTD_WITH_CHECKSUM = { params: { [zlib.constants.ZSTD_c_checksumFlag]: 1 } }

/** Everything that comes out, when the bytes arrive in pieces of any size. */
async function read(bytes: Buffer, pieceBytes: number): Promise<Buffer> {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
  }
  const out: Buffer[] = []
  for await (const piece of decompressed(createByteReader(Readable.from(pieces())))) out.push(piece)
  return Buffer.concat(out)
}

function partsOf(random: Random, bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = random.pick([0, 1, 10, 1000, 50_000, 300_000])
    parts.push(bytes.subarray(at, at + length))
    at += length
  }
  return parts
}

function skippable(random: Random): Buffer {
  const bytes = random.pick([0, 1, 4, 5000])
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x184d2a50 + random.below(16))
  header.writeUInt32LE(bytes, 4)
  return Buffer.concat([header, crypto.randomBytes(bytes)])
}

test('zstd archives of many frames, with frames to skip between them, are read whole', async () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(ROUNDS); seed++) {
    const random = createRandom(seed)
    const plain = random.chance(0.3) ? Buffer.alloc(400_000) : PLAIN.subarray(0, random.below(PLAIN.length))
    const frames = partsOf(random, plain).flatMap(part => [
      ...(random.chance(0.2) ? [skippable(random)] : []),
      zlib.zstdCompressSync(part, random.chance(0.5) ? ZSTD_WITH_CHECKSUM : {}),
    ])
    const bytes = Buffer.concat([...frames, ...(random.chance(0.2) ? [skippable(random)] : [])])
    if (frames.length === 0) continue
    const found = await read(bytes, random.pick([1000, 65_536, bytes.length]))
    assert.ok(found.equals(plain), `seed ${seed}: ${found.length} bytes instead of ${plain.length}`)
  }
})

test('what the zstd program writes is read whole: streams, levels, windows, runs of zeros', async () => {
  const zeros = Buffer.alloc(5_000_000)
  const text = Buffer.from('all work and no play '.repeat(100_000))
  for (const plain of [PLAIN, zeros, text, Buffer.alloc(0)])
    for (const options of [[], ['-19'], ['--no-check'], ['--fast=5'], ['--long=27'], ['--rsyncable']]) {
      const bytes = execFileSync('zstd', ['-q', '-c', ...options], { input: plain, maxBuffer: 1 << 28 })
      assert.ok((await read(bytes, 10_000)).equals(plain), `zstd ${options.join(' ')}`)
    }
})

test('gzip archives of many members are read whole, with the zeros of a tape behind them', async () => {
  for (let seed = firstSeed(); seed < firstSeed() + scaled(ROUNDS); seed++) {
    const random = createRandom(seed)
    const plain = PLAIN.subarray(0, 1 + random.below(200_000))
    const members = partsOf(random, plain).map(part => zlib.gzipSync(part, { level: random.below(10) }))
    const bytes = Buffer.concat([...members, Buffer.alloc(random.pick([0, 1, 10_240, 100_000]))])
    const found = await read(bytes, random.pick([500, 65_536, members[0].length, bytes.length]))
    assert.ok(found.equals(plain), `seed ${seed}: ${found.length} bytes instead of ${plain.length}`)
  }
})

const [zstd, gzip] = [zlib.zstdCompressSync(PLAIN, ZSTD_WITH_CHECKSUM), zlib.gzipSync(PLAIN)]
const skip = skippable(createRandom(1))
const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes)
  copy[bytes.length >> 1] ^= 1
  return copy
}
const BAD: Readonly<Record<string, readonly [bytes: Buffer, message: RegExp]>> = {
  'zstd, cut in a block': [zstd.subarray(0, 500_000), /the archive was cut/],
  'zstd, cut in the checksum': [zstd.subarray(0, -1), /the archive was cut/],
  'zstd, cut in the second frame': [Buffer.concat([zstd, zstd.subarray(0, 9)]), /the archive was cut/],
  'zstd, cut in a frame to skip': [Buffer.concat([zstd, skip.subarray(0, 6)]), /the archive was cut/],
  'zstd, garbage behind it': [
    Buffer.concat([zstd, Buffer.from('garbage')]),
    /something behind the end .* at byte 1000\d\d\d/,
  ],
  'zstd, zeros behind it': [Buffer.concat([zstd, Buffer.alloc(512)]), /something behind the end/],
  'zstd, two bytes behind it': [Buffer.concat([zstd, Buffer.from('ab')]), /something behind the end/],
  'zstd, gzip behind it': [Buffer.concat([zstd, gzip]), /something behind the end/],
  'zstd, a bit turned': [flipped(zstd), /the zstd data are damaged/],
  'zstd, an impossible block': [
    Buffer.concat([zstd.subarray(0, 9), Buffer.alloc(1000, 0xff)]),
    /no block begins at byte/,
  ],
  'zstd, a window of 2 GiB': [
    execFileSync('zstd', ['-q', '-c', '--long=31'], { input: PLAIN }),
    /window of more than 128 MiB/,
  ],
  'gzip, cut': [gzip.subarray(0, 500_000), /the archive was cut/],
  'gzip, cut in the second member': [Buffer.concat([gzip, gzip.subarray(0, 5)]), /the archive was cut/],
  'gzip, garbage behind it': [
    Buffer.concat([gzip, Buffer.from('garbage')]),
    /the gzip data are damaged: incorrect header check/,
  ],
  'gzip, zeros and garbage behind it': [
    Buffer.concat([gzip, Buffer.alloc(70_000), Buffer.from('x')]),
    /something behind the end/,
  ],
  'gzip, zeros and gzip behind it': [Buffer.concat([gzip, Buffer.alloc(1), gzip]), /something behind the end/],
  'gzip, a bit turned': [flipped(gzip), /the gzip data are damaged/],
  xz: [Buffer.from('fd377a585a000004', 'hex'), /compressed with xz/],
  bzip2: [Buffer.from('BZh91AY&SY'), /compressed with bzip2/],
}

for (const [name, [bytes, message]] of Object.entries(BAD))
  test(`${name}: an error, however the bytes arrive`, async () => {
    for (const pieceBytes of [999, 65_536, bytes.length])
      await assert.rejects(read(bytes, pieceBytes), error => {
        assert.ok(isStratumError(error, 'malformed'), String(error))
        assert.match(error.message, message)
        return true
      })
  })
