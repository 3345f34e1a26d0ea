import type { Transform } from 'node:stream'

/**
 * Sends pieces through a compressor or decompressor and yields what comes out. A piece is handed over only when the one before it has
 * been worked on, and the end on its own: what zstd writes then depends on the bytes alone, never on how the threads run.
 */
export async function* transformed(pieces: AsyncIterable<Buffer>, engine: Transform): AsyncGenerator<Buffer> {
  const feeding = feed(pieces, engine)
  try {
    for await (const piece of engine) yield piece as Buffer
  } finally {
    engine.destroy()
  }
  await feeding
}

/** Ends early when nobody takes anything any more; a failure of the pieces becomes that of the engine. */
async function feed(pieces: AsyncIterable<Buffer>, engine: Transform): Promise<void> {
  let written: Promise<void> = Promise.resolve()
  try {
    for await (const piece of pieces) {
      await written
      if (engine.destroyed || engine.readableEnded) return
      written = write(engine, piece)
    }
    await written
    if (!engine.destroyed) engine.end()
  } catch (error) {
    engine.destroy(error as Error)
  }
}

function write(engine: Transform, piece: Buffer): Promise<void> {
  return new Promise(resolve => {
    engine.once('close', resolve)
    engine.write(piece, () => {
      engine.off('close', resolve)
      resolve()
    })
  })
}
