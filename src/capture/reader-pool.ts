import type { StagedFolder } from '../objects/place-objects.ts'
import { hashOnlyObjects, openStagedObjects, type StagedObjects } from '../objects/staged-objects.ts'
import type { Store } from '../store/layout.ts'
import type { Staging } from '../store/staging.ts'
import { type FileReading, readFile } from './read-file.ts'
import { type PendingFile, type ReaderThreads, startReaderThreads } from './reader-threads.ts'

/** Reads and stores files: a few at once by the calling thread, many by threads of their own. */
export interface ReaderPool extends AsyncDisposable {
  /** Reads one file; `done` is called with it, or with undefined where it is gone. `bytes` is what stat(2) said. */
  read(directory: number, name: string, bytes: number, done: (reading: FileReading | undefined) => void): void
  /** Waits until there is room for more. To be called between directories. */
  room(): Promise<void>
  /** Waits for all that was asked for. */
  drain(): Promise<void>
  /** Objects of this thread. */
  readonly objects: StagedObjects
  /** Waits for everything and says what was staged where. Reading may go on afterwards. */
  finish(): Promise<StagedFolder[]>
}

/** Less than this is read at once by the calling thread: a small file takes 0.1 ms, and starting two threads 0.2 s of processor time. */
const INLINE_FILES = 1000
const INLINE_BYTES = 32 << 20
const BATCH_FILES = 128
const BATCH_BYTES = 8 << 20
const BATCHES_PER_THREAD = 3

/** @param staging where objects are written; undefined where only digests are wanted */
export function createReaderPool(store: Store, staging: Staging | undefined, signal?: AbortSignal): ReaderPool {
  const objects = staging === undefined ? hashOnlyObjects(store) : openStagedObjects(store, `${staging.path}/objects`)
  let asked = { files: 0, bytes: 0 }
  let batch: PendingFile[] = []
  let batchBytes = 0
  let threads: ReaderThreads | undefined

  const dispatch = (): void => {
    if (batch.length === 0) return
    threads ??= startReaderThreads(store, staging, signal)
    threads.submit(batch)
    batch = []
    batchBytes = 0
  }
  const drain = async (): Promise<void> => {
    dispatch()
    await threads?.settled(0)
    signal?.throwIfAborted()
  }
  return {
    objects,
    read(directory, name, bytes, done) {
      asked.files++
      asked.bytes += bytes
      if (asked.files <= INLINE_FILES && asked.bytes <= INLINE_BYTES) {
        readNow(objects, { directory, name, done })
        return
      }
      batch.push({ directory, name, done })
      batchBytes += bytes
      if (batch.length >= BATCH_FILES || batchBytes >= BATCH_BYTES) dispatch()
    },
    async room() {
      signal?.throwIfAborted()
      await threads?.settled(threads.count * BATCHES_PER_THREAD)
    },
    drain,
    async finish() {
      await drain()
      const folders = (await threads?.finish()) ?? []
      threads = undefined // they ended
      asked = { files: 0, bytes: 0 }
      return [{ path: objects.path, digests: [...objects.written], reliedOn: [...objects.reliedOn] }, ...folders]
    },
    async [Symbol.asyncDispose]() {
      await threads?.stop()
      for (const { done } of batch) done(undefined)
      objects[Symbol.dispose]()
    },
  }
}

/** `done` is called whatever happens: it lets go of the directory. */
function readNow(objects: StagedObjects, { directory, name, done }: PendingFile): void {
  let reading: FileReading | undefined
  try {
    reading = readFile(objects, directory, name)
  } catch (error) {
    done(undefined)
    throw error
  }
  done(reading)
}
