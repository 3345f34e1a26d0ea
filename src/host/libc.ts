import os from 'node:os'
import koffi from 'koffi'
import type { SystemError } from '../errors/errno.ts'

/**
 * The C library. All system calls that Node does not offer are declared beside the functions that use them, in this folder only.
 * A call that is variadic in C is declared with the arguments it is used with.
 */
export const libc = koffi.load(null)

const NAME_OF_ERRNO = new Map<number, string>(
  Object.entries(os.constants.errno).map(([name, number]) => [number, name]),
)
// These numbers have two names, of which Node uses these.
NAME_OF_ERRNO.set(os.constants.errno.EAGAIN, 'EAGAIN').set(os.constants.errno.ENOTSUP, 'ENOTSUP')

/** The error of the call that just failed, in the shape of Node's own. */
export function systemError(syscall: string, path?: string): SystemError {
  return errorOf(koffi.errno(), syscall, path)
}

export function errorOf(errno: number, syscall: string, path?: string): SystemError {
  const code = NAME_OF_ERRNO.get(errno) ?? NAMES_NODE_LACKS[errno] ?? `E${errno}`
  const error = new Error(`${code}: ${syscall}${path === undefined ? '' : ` ${path}`}`) as SystemError
  error.code = code
  error.errno = errno
  error.syscall = syscall
  if (path !== undefined) error.path = path
  return error
}

const NAMES_NODE_LACKS: Readonly<Record<number, string>> = { 15: 'ENOTBLK', 108: 'ESHUTDOWN', 117: 'EUCLEAN' }

/** Passes a result on; a negative one is the failure of `syscall`. */
export function check(result: number, syscall: string, path?: string): number {
  if (result < 0) throw systemError(syscall, path)
  return result
}

/** Bytes of a path or name as C wants them. Text is latin1, a character for each byte: see `text.ts`. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'latin1')
}
