import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { createObjectFile } from '../objects/object-file.ts'
import type { StagedObjects } from '../objects/staged-objects.ts'
import { type Content, INLINE_BYTES_MAX } from '../tree/entry.ts'
import type { ReadMember } from './read-tar.ts'

const SMALL_BYTES = 1 << 20

/** Stores the bytes of a member as they arrive; what is zero takes no room. @throws malformed, no-space, unsupported (too large) */
export async function storeMember(objects: StagedObjects, { size, pieces }: ReadMember): Promise<Content> {
  if (size > SMALL_BYTES) return storeLarge(objects, pieces())
  const small = Buffer.allocUnsafe(size)
  let used = 0
  for await (const piece of pieces()) {
    if (typeof piece === 'number') small.fill(0, used, used + piece)
    else small.set(piece, used)
    used += typeof piece === 'number' ? piece : piece.length
  }
  if (size <= INLINE_BYTES_MAX) return { size, digest: undefined, data: small.toString('latin1') }
  return { size, digest: objects.put(small), data: '' }
}

async function storeLarge(objects: StagedObjects, pieces: AsyncIterable<Buffer | number>): Promise<Content> {
  using file = createObjectFile(objects)
  try {
    for await (const piece of pieces) {
      if (typeof piece === 'number') file.skip(piece)
      else file.write(piece)
    }
    return { ...file.finish(), data: '' }
  } catch (error) {
    if (!isErrno(error, 'EFBIG', 'ERR_OUT_OF_RANGE')) throw error
    throw new StratumError('unsupported', 'it is larger than a file can be in the store', { cause: error })
  }
}
