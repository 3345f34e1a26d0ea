import fs from 'node:fs'
import { close, createFileAt, unlinkAt } from '../host/descriptors.ts'
import { writeAll } from '../host/files.ts'
import { createVerityHasher, type Digest } from '../hashes/verity.ts'
import type { StagedObjects } from './staged-objects.ts'

/** An object that is written piece by piece; its name is known at the end. Runs of zeros become holes. */
export interface ObjectFile extends Disposable {
  write(bytes: Uint8Array): void
  /** Zeros that need not be looked at: a hole. */
  skip(bytes: number): void
  finish(): { digest: Digest; size: number }
}

const BUFFER_BYTES = 1 << 20
const RUN_BYTES = 1 << 16
const ZEROS = Buffer.alloc(RUN_BYTES)
const OBJECT_MODE = 0o444

export function createObjectFile(objects: StagedObjects): ObjectFile {
  const name = objects.newName()
  const file = createFileAt(objects.folder, name, OBJECT_MODE)
  const hasher = createVerityHasher()
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  let used = 0
  let flushed = 0
  let adopted = false

  const flush = (): void => {
    for (let at = 0; at < used; at += RUN_BYTES) {
      const run = buffer.subarray(at, Math.min(at + RUN_BYTES, used))
      if (run.equals(ZEROS.subarray(0, run.length))) hasher.updateZeros(run.length)
      else {
        hasher.update(run)
        writeAll(file, run, flushed + at)
      }
    }
    flushed += used
    used = 0
  }
  const write = (bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(BUFFER_BYTES - used, bytes.length - at)
      buffer.set(bytes.subarray(at, at + length), used)
      used += length
      at += length
      if (used === BUFFER_BYTES) flush()
    }
  }
  return {
    write,
    skip(bytes) {
      const filling = Math.min(bytes, (RUN_BYTES - (used % RUN_BYTES)) % RUN_BYTES)
      write(ZEROS.subarray(0, filling))
      const left = bytes - filling
      const whole = left - (left % RUN_BYTES)
      if (whole > 0) {
        flush() // whole runs: pieces of the hasher must not end inside a block
        hasher.updateZeros(whole)
        flushed += whole
      }
      write(ZEROS.subarray(0, left - whole))
    },
    finish() {
      flush()
      fs.ftruncateSync(file, flushed)
      const digest = hasher.digest()
      objects.adopt(name, digest, flushed)
      adopted = true
      return { digest, size: flushed }
    },
    [Symbol.dispose]() {
      close(file)
      if (!adopted) unlinkAt(objects.folder, name)
    },
  }
}
