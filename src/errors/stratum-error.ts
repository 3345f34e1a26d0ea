import type { ErrorCode } from './codes.ts'

/** Facts for `--json` and logs: what the error is about, who holds it, what could be meant. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>

interface ErrorOptions {
  /** The next command, or whatever helps the reader on. */
  hint?: string | undefined
  details?: ErrorDetails
  cause?: unknown
}

/** The one error that leaves a room. Its message names the thing and its holder; `hint` names the next step. */
export class StratumError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'StratumError'
    this.code = code
    this.hint = options.hint
    this.details = options.details ?? {}
  }
}

export function isStratumError(error: unknown, code?: ErrorCode): error is StratumError {
  return error instanceof StratumError && (code === undefined || error.code === code)
}
