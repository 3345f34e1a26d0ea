import type { ErrorCode } from './codes.ts'
import { isStratumError, StratumError } from './stratum-error.ts'

/** A system error as Node throws it; `host/` throws the same shape for the calls that Node lacks. */
export interface SystemError extends Error {
  code: string
  errno: number
  syscall?: string
  path?: string
}

const CODE_OF_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EACCES: 'permission',
  EPERM: 'permission',
  EROFS: 'unsupported',
  ENOSYS: 'unsupported',
  ENOENT: 'not-found',
  EEXIST: 'exists',
  EBUSY: 'in-use',
  EIO: 'integrity',
  ESTALE: 'integrity',
  ENOTDIR: 'usage',
  ELOOP: 'usage',
  ENAMETOOLONG: 'usage',
  EMFILE: 'busy',
  ENFILE: 'busy',
}

export function isErrno(error: unknown, ...codes: string[]): error is SystemError {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

const PLAIN: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the file system',
  EDQUOT: 'disk quota exceeded',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  EISDIR: 'it is a directory',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
}

/** Turns whatever was thrown into a StratumError that says what was being done; one that is a StratumError already stays as it is. */
export function toStratumError(error: unknown, doing: string): StratumError {
  if (isStratumError(error)) return error
  const system = error as Partial<SystemError>
  const code = (typeof system?.code === 'string' && CODE_OF_ERRNO[system.code]) || 'internal'
  const text =
    (typeof system?.code === 'string' && PLAIN[system.code]) || (error instanceof Error ? error.message : String(error))
  const where = system?.path && !doing.endsWith(system.path) ? ` (${system.path})` : ''
  const advice = code === 'no-space' ? { hint: 'If it is the store that is full: stratum gc --now, stratum du' } : {}
  return new StratumError(code, `${doing}: ${text}${where}`, { cause: error, ...advice })
}
