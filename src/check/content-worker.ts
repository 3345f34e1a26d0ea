import { parentPort, workerData } from 'node:worker_threads'
import type { Store } from '../store/layout.ts'
import { checkContent, type ExpectedObject } from './check-content.ts'

/** A thread that reads objects and measures them. */
const { store } = workerData as { store: Store }

parentPort?.on('message', (batch: readonly ExpectedObject[]) => {
  parentPort?.postMessage(batch.map(object => checkContent(store, object)))
})
