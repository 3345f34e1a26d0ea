const P1 = 2654435761
const P2 = 2246822519
const P3 = 3266489917
const P4 = 668265263
const P5 = 374761393

/** The hash XXH32 (specification: github.com/Cyan4973/xxHash, doc/xxhash_spec.md), which EROFS uses for its xattr filter. */
export function xxh32(input: Uint8Array, seed: number): number {
  const data = new DataView(input.buffer, input.byteOffset, input.byteLength)
  let at = 0
  let hash = (seed + P5) | 0
  if (input.length >= 16) {
    const lanes = [(seed + P1 + P2) | 0, (seed + P2) | 0, seed | 0, (seed - P1) | 0]
    do {
      for (let i = 0; i < 4; i++, at += 4)
        lanes[i] = Math.imul(rotate((lanes[i] + Math.imul(data.getInt32(at, true), P2)) | 0, 13), P1)
    } while (at <= input.length - 16)
    hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18)
  }
  hash = (hash + input.length) | 0
  for (; at + 4 <= input.length; at += 4)
    hash = Math.imul(rotate((hash + Math.imul(data.getInt32(at, true), P3)) | 0, 17), P4)
  for (; at < input.length; at++) hash = Math.imul(rotate((hash + Math.imul(input[at], P5)) | 0, 11), P1)
  hash = Math.imul(hash ^ (hash >>> 15), P2)
  hash = Math.imul(hash ^ (hash >>> 13), P3)
  return (hash ^ (hash >>> 16)) >>> 0
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
