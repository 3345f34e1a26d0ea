import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'

/** The archive is not as its format says, or says what no tree can be. */
export function malformed(message: string, hint?: string): StratumError {
  return new StratumError('malformed', message, { hint })
}

/** Says at which member, or in which layer, something went wrong. */
export function inside(error: unknown, where: string): unknown {
  if (!isStratumError(error)) return error
  const { code, message, hint, details, cause } = error
  return new StratumError(code, `${where}: ${message}`, { hint, details, cause })
}

const SHOWN_CHARACTERS = 300

/** A name of an archive for a message: it may have a million bytes. */
export function shown(name: string): string {
  return name.length <= SHOWN_CHARACTERS ? toUser(name) : `${toUser(name.slice(0, SHOWN_CHARACTERS))}…`
}
