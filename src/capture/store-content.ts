import fs from 'node:fs'
import { close, createFileAt, unlinkAt } from '../host/descriptors.ts'
import { cloneFile, nextData } from '../host/files.ts'
import { createVerityHasher, type Digest } from '../hashes/verity.ts'
import { createObjectFile } from '../objects/object-file.ts'
import type { StagedObjects } from '../objects/staged-objects.ts'
import { type Content, INLINE_BYTES_MAX } from '../tree/entry.ts'

const SMALL_BYTES = 1 << 20
const PIECE_BYTES = 1 << 20
const BLOCK = 4096
const OBJECT_MODE = 0o444

/** Where a first clone failed, no second one is tried. */
const cannotClone = new WeakSet<StagedObjects>()
const small = Buffer.allocUnsafeSlow(SMALL_BYTES)
const piece = small // never in use at the same time

/**
 * Stores what an open file holds now. The bytes are copied first and the copy is hashed, so an object's name is always that of its
 * bytes, whatever happens to the file meanwhile. `size` is what stat(2) said: no more is read, and less where the file was cut.
 */
export function storeContent(objects: StagedObjects, file: number, size: number): Content {
  if (size > SMALL_BYTES && objects.hashOnly) return { ...hashFile(file, size), data: '' }
  if (size > SMALL_BYTES) return { ...(storeClone(objects, file) ?? storeCopy(objects, file, size)), data: '' }
  const length = readFully(file, small, size, 0)
  const bytes = small.subarray(0, length)
  if (length <= INLINE_BYTES_MAX) return { size: length, digest: undefined, data: bytes.toString('latin1') }
  return { size: length, digest: objects.put(bytes), data: '' }
}

/** Where the file system can share blocks: a clone is ours alone and holds still while it is hashed. */
function storeClone(objects: StagedObjects, file: number): Omit<Content, 'data'> | undefined {
  if (cannotClone.has(objects)) return undefined
  const name = objects.newName()
  const clone = createFileAt(objects.folder, name, OBJECT_MODE)
  try {
    if (!cloneFile(file, clone)) {
      cannotClone.add(objects)
      unlinkAt(objects.folder, name)
      return undefined
    }
  } finally {
    close(clone)
  }
  const reading = fs.openSync(`${objects.path}/${name}`, 'r')
  try {
    const stored = hashFile(reading, fs.fstatSync(reading).size)
    objects.adopt(name, stored.digest, stored.size)
    return stored
  } finally {
    fs.closeSync(reading)
  }
}

function storeCopy(objects: StagedObjects, file: number, size: number): Omit<Content, 'data'> {
  using copy = createObjectFile(objects)
  eachPiece(file, size, copy.write, copy.skip)
  return copy.finish()
}

/** The fs-verity digest of an open file, read to its end. */
export function hashFile(file: number, size: number): { digest: Digest; size: number } {
  const hasher = createVerityHasher()
  const length = eachPiece(file, size, hasher.update, hasher.updateZeros)
  return { digest: hasher.digest(), size: length }
}

/** Reads a file from its beginning: data in pieces, which all but the last are whole blocks, and holes as numbers. Returns the bytes in all. */
function eachPiece(
  file: number,
  size: number,
  data: (bytes: Uint8Array) => void,
  hole: (bytes: number) => void,
): number {
  let done = 0
  while (done < size) {
    const next = nextData(file, done, size)
    const start = next === undefined ? size : Math.min(next.start - (next.start % BLOCK), size)
    if (start > done) {
      hole(start - done)
      done = start
      continue
    }
    const end = Math.min(size, Math.ceil((next?.end ?? size) / BLOCK) * BLOCK)
    while (done < end) {
      const wanted = Math.min(PIECE_BYTES, end - done)
      const length = readFully(file, piece, wanted, done)
      data(piece.subarray(0, length))
      done += length
      if (length < wanted) return done // cut meanwhile
    }
  }
  return done
}

/** Reads until the buffer holds `wanted` bytes or the file ends. */
function readFully(file: number, into: Buffer, wanted: number, position: number): number {
  let length = 0
  while (length < wanted) {
    const read = fs.readSync(file, into, length, wanted - length, position + length)
    if (read === 0) break
    length += read
  }
  return length
}
