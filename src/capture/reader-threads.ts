import os from 'node:os'
import { Worker } from 'node:worker_threads'
import { StratumError } from '../errors/stratum-error.ts'
import { armedFault } from '../host/faults.ts'
import { errorOf } from '../host/libc.ts'
import type { StagedFolder } from '../objects/place-objects.ts'
import type { Store } from '../store/layout.ts'
import type { Staging } from '../store/staging.ts'
import type { FileReading } from './read-file.ts'
import type { ReadJob, WorkerReply, WorkerSetup } from './worker-protocol.ts'

/** A file that is to be read by a thread. */
export interface PendingFile {
  readonly directory: number
  readonly name: string
  readonly done: (reading: FileReading | undefined) => void
}

/** Threads that read, hash and store files, a batch at a time each. */
export interface ReaderThreads {
  readonly count: number
  submit(batch: readonly PendingFile[]): void
  /** Waits until at most so many batches are under way. @throws what a thread or a `done` threw */
  settled(batches: number): Promise<void>
  /** Waits for all batches and says what was staged where. */
  finish(): Promise<StagedFolder[]>
  stop(): Promise<void>
}

interface Crew {
  readonly workers: Worker[]
  readonly idle: Worker[]
  readonly queue: (readonly PendingFile[])[]
  readonly underWay: Map<number, readonly PendingFile[]>
  readonly staged: StagedFolder[]
  readonly ended: Set<Worker>
  jobs: number
  failure: unknown
  waiters: (() => void)[]
}

const WORKERS_MAX = 8

/** @param staging undefined where only digests are wanted */
export function startReaderThreads(store: Store, staging: Staging | undefined, signal?: AbortSignal): ReaderThreads {
  const crew: Crew = {
    workers: [],
    idle: [],
    queue: [],
    underWay: new Map(),
    staged: [],
    ended: new Set(),
    jobs: 0,
    failure: undefined,
    waiters: [],
  }
  for (let i = 0; i < Math.min(os.availableParallelism(), WORKERS_MAX); i++) {
    startWorker(crew, { store, folder: staging && `${staging.path}/objects-${i}`, fault: armedFault() })
  }
  signal?.addEventListener('abort', () => wake(crew), { once: true })

  const until = async (reached: () => boolean): Promise<void> => {
    while (crew.failure === undefined && !reached()) {
      signal?.throwIfAborted()
      await new Promise<void>(resolve => crew.waiters.push(resolve))
    }
    if (crew.failure !== undefined) throw crew.failure
  }
  return {
    count: crew.workers.length,
    submit(batch) {
      crew.queue.push(batch)
      const worker = crew.idle.pop()
      if (worker !== undefined) giveWork(crew, worker)
    },
    settled: batches => until(() => crew.queue.length + crew.underWay.size <= batches),
    async finish() {
      await until(() => crew.queue.length + crew.underWay.size === 0)
      for (const worker of crew.workers) worker.postMessage('finish')
      await until(() => crew.staged.length === crew.workers.length)
      return crew.staged
    },
    async stop() {
      await Promise.all(crew.workers.map(worker => worker.terminate()))
      for (const batch of [...crew.queue.splice(0), ...crew.underWay.values()])
        for (const { done } of batch) done(undefined)
      crew.underWay.clear()
    },
  }
}

function startWorker(crew: Crew, setup: WorkerSetup): void {
  const file = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js'
  // Descriptors are opened and closed by system calls of our own, which Node would take for leaks.
  const worker = new Worker(new URL(file, import.meta.url), { workerData: setup, trackUnmanagedFds: false })
  worker.on('message', (reply: WorkerReply) => receive(crew, worker, reply))
  worker.on('error', error => fail(crew, error))
  worker.on('exit', () => {
    // Else whoever waits for it would wait for ever.
    if (!crew.ended.has(worker)) fail(crew, new StratumError('internal', 'a thread that reads files ended by itself'))
  })
  crew.workers.push(worker)
  crew.idle.push(worker)
}

function giveWork(crew: Crew, worker: Worker): void {
  const batch = crew.queue.shift()
  if (batch === undefined) {
    crew.idle.push(worker)
    return
  }
  const job: ReadJob = { number: ++crew.jobs, files: batch.map(({ directory, name }) => ({ directory, name })) }
  crew.underWay.set(job.number, batch)
  worker.postMessage(job)
}

function receive(crew: Crew, worker: Worker, reply: WorkerReply): void {
  if (reply.kind === 'failed') fail(crew, revive(reply))
  else if (reply.kind === 'finished') {
    crew.ended.add(worker)
    crew.staged.push(reply.staged)
  } else takeReadings(crew, worker, reply)
  wake(crew)
}

function takeReadings(crew: Crew, worker: Worker, { number, readings }: Extract<WorkerReply, { kind: 'read' }>): void {
  const batch = crew.underWay.get(number) ?? []
  crew.underWay.delete(number)
  try {
    for (const [i, { done }] of batch.entries()) done(readings[i])
    giveWork(crew, worker)
  } catch (error) {
    fail(crew, error)
  }
}

function fail(crew: Crew, error: unknown): void {
  crew.failure ??= error
  wake(crew)
}

function wake(crew: Crew): void {
  const woken = crew.waiters
  crew.waiters = []
  for (const waiter of woken) waiter()
}

/** An error of another thread: what it was made of came over as text. */
function revive({ code, message, path }: Extract<WorkerReply, { kind: 'failed' }>): Error {
  if (!/^E[A-Z0-9]+$/.test(code)) return new StratumError('internal', message)
  return Object.assign(errorOf(0, message, path), { code, message })
}
