/** Bytes that arrive in pieces, taken as they are needed. Only one call at a time may be waiting. */
export interface ByteReader {
  /** Bytes taken so far. */
  position(): number
  /** The next bytes, which stay there; fewer where the end comes first. */
  peek(bytes: number): Promise<Buffer>
  /** Takes the next bytes; fewer where the end comes first. */
  take(bytes: number): Promise<Buffer>
  /** Takes what is there, at most so many bytes and at least one; none at the end. */
  some(bytesMax?: number): Promise<Buffer>
}

const NOTHING = Buffer.alloc(0)

export function createByteReader(source: AsyncIterable<Uint8Array>): ByteReader {
  const iterator = source[Symbol.asyncIterator]()
  let held: Buffer = NOTHING
  let taken = 0

  /** Whether there was another piece. */
  const fetch = async (): Promise<boolean> => {
    const { done, value } = await iterator.next()
    if (done === true) return false
    const piece = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    held = held.length === 0 ? piece : Buffer.concat([held, piece])
    return true
  }
  const drop = (bytes: number): Buffer => {
    const dropped = held.subarray(0, bytes)
    held = held.subarray(dropped.length)
    taken += dropped.length
    return dropped
  }
  const peek = async (bytes: number): Promise<Buffer> => {
    while (held.length < bytes && (await fetch()));
    return held.subarray(0, bytes)
  }
  return {
    position: () => taken,
    peek,
    async take(bytes) {
      await peek(bytes)
      return drop(bytes)
    },
    async some(bytesMax = Infinity) {
      while (held.length === 0 && (await fetch()));
      return drop(Math.min(held.length, bytesMax))
    },
  }
}

/** Everything that is left, in pieces. */
export async function* restOf(reader: ByteReader): AsyncGenerator<Buffer> {
  for (let piece = await reader.some(); piece.length > 0; piece = await reader.some()) yield piece
}
