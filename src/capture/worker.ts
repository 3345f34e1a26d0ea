import { parentPort, workerData } from 'node:worker_threads'
import { armFaults } from '../host/faults.ts'
import { hashOnlyObjects, openStagedObjects } from '../objects/staged-objects.ts'
import { readFile } from './read-file.ts'
import type { ReadJob, WorkerReply, WorkerRequest, WorkerSetup } from './worker-protocol.ts'

/** A thread that reads, hashes and stores files. */
const { store, folder, fault } = workerData as WorkerSetup
armFaults(undefined, fault)
const objects = folder === undefined ? hashOnlyObjects(store) : openStagedObjects(store, folder)

parentPort?.on('message', (request: WorkerRequest) => {
  if (request !== 'finish') {
    reply(read(request))
    return
  }
  reply({
    kind: 'finished',
    staged: { path: objects.path, digests: [...objects.written], reliedOn: [...objects.reliedOn] },
  })
  objects[Symbol.dispose]()
  parentPort?.close()
})

function read({ number, files }: ReadJob): WorkerReply {
  let name: string | undefined
  try {
    const readings = files.map(file => {
      name = file.name
      return readFile(objects, file.directory, file.name)
    })
    return { kind: 'read', number, readings }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return { kind: 'failed', code: code ?? 'internal', message, path: name }
  }
}

function reply(message: WorkerReply): void {
  parentPort?.postMessage(message)
}
