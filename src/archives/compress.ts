import zlib from 'node:zlib'
import { type Compression, PIECE_BYTES } from './decompress.ts'
import { transformed } from './transform.ts'

const { ZSTD_c_checksumFlag } = zlib.constants

/** The same bytes give the same bytes, as long as Node's libraries are the same. */
export function compressed(pieces: AsyncIterable<Buffer>, compression: Compression): AsyncIterable<Buffer> {
  const chunkSize = PIECE_BYTES
  if (compression === 'gzip') return transformed(pieces, zlib.createGzip({ chunkSize }))
  if (compression === 'zstd')
    return transformed(pieces, zlib.createZstdCompress({ chunkSize, params: { [ZSTD_c_checksumFlag]: 1 } }))
  return pieces
}
