import { isStratumError, StratumError } from '../errors/stratum-error.ts'

/** The archive is not as its format says, or says what no tree can be. */
export function malformed(message: string, hint?: string): StratumError {
  return new StratumError('malformed', message, { hint })
}

/** Says at which member, or in which layer, something went wrong. */
export function inside(error: unknown, where: string): unknown {
  if (!isStratumError(error) || error.message.includes(where)) return error
  const { code, message, hint, details, cause } = error
  return new StratumError(code, `${where}: ${message}`, { hint, details, cause })
}
