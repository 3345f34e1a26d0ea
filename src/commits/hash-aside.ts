import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { arenaOf } from '../erofs/arena.ts'
import { hashTree, type TreeHashes } from '../tree/hash-tree.ts'
import type { Tree } from '../tree/tree.ts'

/** A tree with more names than this is hashed by a thread of its own while the image is written. */
const ASIDE_SLOTS = 200_000

/**
 * Begins to make both hashes of a tree; the columns are shared memory: nothing is copied for the thread. Returns what hands them out. A
 * small tree is hashed only when they are asked for, so that the caller chooses what goes on meanwhile.
 */
export function hashTreeAside(tree: Tree): () => Promise<TreeHashes> {
  const { arena, ...image } = tree.image
  if (tree.slots < ASIDE_SLOTS || !(arena.memory instanceof SharedArrayBuffer))
    return () => Promise.resolve(hashTree(tree))
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { hashTree: { ...tree, image: { ...image, memory: arena.memory } } },
  })
  const hashing = new Promise<TreeHashes>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  hashing.catch(() => undefined) // whoever asks is told
  return () => hashing
}

if (!isMainThread && workerData?.hashTree !== undefined) {
  const { image, ...columns } = workerData.hashTree
  parentPort?.postMessage(hashTree({ ...columns, image: { ...image, arena: arenaOf(image.memory) } } as Tree))
}
