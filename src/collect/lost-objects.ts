import { setImmediate as nextTurn } from 'node:timers/promises'
import { openCommitImage } from '../commits/open-image.ts'
import type { Arena, Image } from '../erofs/arena.ts'
import { eachDigest } from '../erofs/digests.ts'
import { SLOT } from '../erofs/format.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { createDigestTable, type DigestTable } from '../hashes/digest-table.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Store } from '../store/layout.ts'
import type { Decision } from './decide-commits.ts'
import { type MarkOptions, openTrusted } from './mark.ts'

/**
 * The objects that commits which go have and no commit that stays. Where the last collection left nothing unused behind, no other object
 * can be unused now. Undefined where an image that goes cannot be read: all objects have to be looked through then.
 * @throws integrity for an image that stays and cannot be trusted
 */
export async function findLost(
  store: Store,
  { stay, go }: Pick<Decision, 'stay' | 'go'>,
  { signal, onCommit }: MarkOptions,
): Promise<DigestTable | undefined> {
  let memory: Arena | undefined
  let lost = createDigestTable()
  for (const id of go) {
    const image = openIntact(store, id, memory)
    if (image === undefined) return undefined
    memory = image.arena
    eachDigest(image, lost.add)
  }
  for (const id of stay.keys()) {
    if (lost.size === 0) break
    const image = openTrusted(store, id, memory)
    memory = image.arena
    lost = without(lost, image)
    onCommit?.(lost.size, image.firstAdded * SLOT)
    await nextTurn()
    signal?.throwIfAborted()
  }
  return lost
}

/** What an image does not name. The table becomes small soon, which makes looking into it quick. */
function without(lost: DigestTable, image: Image): DigestTable {
  const isNamed = new Uint8Array(lost.size)
  let named = 0
  eachDigest(image, (words, word) => {
    const number = lost.find(words, word)
    if (number < 0 || isNamed[number] === 1) return
    isNamed[number] = 1
    named++
  })
  if (named === 0) return lost
  const left = createDigestTable()
  for (let number = 0; number < lost.size; number++) if (isNamed[number] === 0) left.addDigest(lost.digest(number))
  return left
}

function openIntact(store: Store, id: CommitId, memory: Arena | undefined): Image | undefined {
  try {
    return openCommitImage(store, id, 0, memory)
  } catch (error) {
    if (isStratumError(error, 'integrity') || isStratumError(error, 'not-found')) return undefined
    throw error
  }
}
