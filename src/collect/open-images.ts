import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { probeOpenElsewhere } from '../host/locks.ts'
import { nodePath } from '../names/text.ts'

/**
 * Whether anybody has an image open. A mount has, wherever and however it was made: attached, detached, lazily unmounted, in another
 * namespace, through a loop device. Readers look the same, and what cannot be told is `unknown`: both are kept. An image that is not
 * there is `closed`.
 */
export type Openness = 'closed' | 'open' | 'unknown'

/** One descriptor for each image, and the lease is given back at once: a mount that comes now does not notice (store.md 7). */
export function probeImage(path: string): Openness {
  let file: number
  try {
    file = fs.openSync(nodePath(path), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return 'closed'
    return isErrno(error, 'EAGAIN', 'EWOULDBLOCK') ? 'open' : 'unknown' // somebody else is asking the same question
  }
  try {
    const answer = probeOpenElsewhere(file)
    return answer === 'granted' ? 'closed' : answer
  } finally {
    fs.closeSync(file)
  }
}
