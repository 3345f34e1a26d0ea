import { once } from 'node:events'
import os from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Digest } from '../hashes/verity.ts'
import type { Store } from '../store/layout.ts'
import { checkContent, type ContentProblem, type ExpectedObject } from './check-content.ts'

export interface ContentsOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((objects: number, bytes: number) => void) | undefined
  /** So many threads, and nothing in the calling one, which has others to serve; else as many as there are cores, where it is worth it. */
  readonly threads?: number
}

type Batch = readonly ExpectedObject[]
type Answers = readonly (ContentProblem | undefined)[]

const THREADS_MAX = 8
const BATCH_OBJECTS = 128
const BATCH_BYTES = 32 << 20

/** Reads objects and measures them, on all cores. Returns what is wrong with those with which something is. */
export async function checkContents(
  store: Store,
  objects: Iterable<ExpectedObject>,
  { signal, onProgress, threads }: ContentsOptions = {},
): Promise<Map<Digest, ContentProblem>> {
  const problems = new Map<Digest, ContentProblem>()
  const done = { objects: 0, bytes: 0 }
  const collect = (batch: Batch, answers: Answers): void => {
    for (const [i, { digest, size }] of batch.entries()) {
      done.objects++
      done.bytes += Math.max(size, 0)
      const problem = answers[i]
      if (problem !== undefined) problems.set(digest, problem)
    }
    onProgress?.(done.objects, done.bytes)
  }
  const batches = inBatches(objects)
  const { value: first } = batches.next()
  const { value: second } = batches.next()
  if (first === undefined) return problems
  if (second === undefined && threads === undefined) {
    // One batch is read by the calling thread: starting others takes some 40 ms.
    await nextTurn()
    signal?.throwIfAborted()
    collect(
      first,
      first.map(object => checkContent(store, object)),
    )
  } else {
    const taken = second === undefined ? [first] : [second, first]
    const count = threads ?? Math.min(os.availableParallelism(), THREADS_MAX)
    await checkInThreads(store, taken, batches, { signal, collect, count })
  }
  return problems
}

interface ThreadOptions {
  readonly signal: AbortSignal | undefined
  readonly collect: (batch: Batch, answers: Answers) => void
  readonly count: number
}

/** Every thread gets a batch, and the next one with each answer. */
async function checkInThreads(
  store: Store,
  taken: Batch[],
  batches: Generator<Batch, undefined>,
  { signal, collect, count }: ThreadOptions,
): Promise<void> {
  const take = (): Batch | undefined => taken.pop() ?? batches.next().value
  const work = async (worker: Worker): Promise<void> => {
    for (let batch = take(); batch !== undefined; batch = take()) {
      worker.postMessage(batch)
      const [answers] = await once(worker, 'message', signal === undefined ? {} : { signal })
      collect(batch, answers)
    }
  }
  const file = import.meta.url.endsWith('.ts') ? './content-worker.ts' : './content-worker.js'
  const workers = Array.from(
    { length: count },
    () => new Worker(new URL(file, import.meta.url), { workerData: { store } }),
  )
  try {
    await Promise.all(workers.map(work))
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
}

function* inBatches(objects: Iterable<ExpectedObject>): Generator<Batch, undefined> {
  let batch: ExpectedObject[] = []
  let bytes = 0
  for (const object of objects) {
    batch.push(object)
    bytes += Math.max(object.size, 0)
    if (batch.length < BATCH_OBJECTS && bytes < BATCH_BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
  return undefined
}
