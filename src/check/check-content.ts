import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import type { Digest } from '../hashes/verity.ts'
import { nodePath } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { measure } from './fs-verity.ts'

/** An object with the bytes that it should have; -1 where nothing tells. */
export interface ExpectedObject {
  readonly digest: Digest
  readonly size: number
}

/** What is wrong with an object. */
export type ContentProblem = { readonly kind: 'missing' } | { readonly kind: 'damaged'; readonly message: string }

/** Reads one object and measures it. */
export function checkContent(store: Store, { digest, size }: ExpectedObject): ContentProblem | undefined {
  return checkFile(paths.object(store, digest), digest, size)
}

/** Whether a file is the object of that digest; of this size, unless that is -1. */
export function checkFile(path: string, digest: Digest, size = -1): ContentProblem | undefined {
  let file: number | undefined
  try {
    file = fs.openSync(nodePath(path), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
    return checkOpenFile(file, digest, size)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { kind: 'missing' }
    if (isErrno(error, ...UNREADABLE)) return damaged(`it cannot be read (${error.code})`)
    if (error instanceof RangeError) return damaged(error.message)
    throw error
  } finally {
    if (file !== undefined) fs.closeSync(file)
  }
}

/** What a damaged disk or something that is no regular file answers with. */
const UNREADABLE = ['EIO', 'EUCLEAN', 'EBADMSG', 'ELOOP', 'ENXIO', 'ENOTDIR', 'EISDIR']

function checkOpenFile(file: number, digest: Digest, size: number): ContentProblem | undefined {
  const stat = fs.fstatSync(file)
  if (!stat.isFile()) return damaged('it is no regular file')
  if (size >= 0 && stat.size !== size) return damaged(`it has ${stat.size} bytes instead of ${size}`)
  const found = measure(stat.size, (into, position) => readFully(file, into, position))
  return found === digest ? undefined : damaged(`its content has the digest ${found.slice(0, 12)}`)
}

function damaged(message: string): ContentProblem {
  return { kind: 'damaged', message }
}

function readFully(file: number, into: Buffer, position: number): number {
  let length = 0
  while (length < into.length) {
    const read = fs.readSync(file, into, length, into.length - length, position + length)
    if (read === 0) break
    length += read
  }
  return length
}
