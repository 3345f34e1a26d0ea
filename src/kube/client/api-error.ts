import type { ErrorCode } from '../../errors/codes.ts'
import { StratumError } from '../../errors/stratum-error.ts'

/** What the API server says of a refusal (metav1.Status). */
interface Status {
  readonly message?: string
  readonly reason?: string
  readonly details?: { readonly retryAfterSeconds?: number }
}

/** An answer of the API server that is no success. Its HTTP status and reason are in the details. */
export function apiError(status: number, body: string, retryAfter?: string): StratumError {
  const { message, reason = '', details } = parseStatus(body)
  const seconds = details?.retryAfterSeconds ?? (retryAfter === undefined ? 0 : Number(retryAfter) || 0)
  return new StratumError(
    codeOf(status, reason),
    `the API server said: ${message ?? `HTTP status ${status}`}`.slice(0, 4096),
    {
      details: { status, reason, retryAfterMs: seconds * 1000 },
    },
  )
}

/** No answer: refused, reset, timed out, half-open. */
export function noAnswer(cause: unknown, doing: string): StratumError {
  if (cause instanceof StratumError) return cause
  return new StratumError('unavailable', `${doing}: the API server did not answer: ${(cause as Error).message}`, {
    cause,
    details: { status: 0 },
  })
}

function codeOf(status: number, reason: string): ErrorCode {
  switch (status) {
    case 404:
      return 'not-found'
    case 409:
      return reason === 'AlreadyExists' ? 'exists' : 'conflict'
    case 401:
    case 403:
      return 'permission'
    case 400:
    case 413:
    case 415:
    case 422:
      return 'usage'
    default:
      return 'unavailable'
  }
}

/** The object that was to be changed is not as it was read, or is another one of that name: read it again. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 409 && (error as StratumError).details.reason !== 'AlreadyExists'
}

/** The resource version of a list or watch is too old: list anew. */
export function isGone(error: unknown): boolean {
  return statusOf(error) === 410
}

export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404
}

/** Milliseconds that the API server asked to be left alone for. */
export function retryAfterMs(error: unknown): number {
  return error instanceof StratumError ? Number(error.details.retryAfterMs ?? 0) : 0
}

/** HTTP status; 0 for no answer; undefined for errors that are not of the API server. */
export function statusOf(error: unknown): number | undefined {
  const status = error instanceof StratumError ? error.details.status : undefined
  return typeof status === 'number' ? status : undefined
}

function parseStatus(body: string): Status {
  try {
    const status: unknown = JSON.parse(body)
    return typeof status === 'object' && status !== null ? status : {}
  } catch {
    return body.trim() === '' ? {} : { message: body.trim().slice(0, 300) }
  }
}
