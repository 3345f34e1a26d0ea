import pino, { type DestinationStream, type Logger } from 'pino'

export type { Logger }

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

interface LogOptions {
  readonly level: LogLevel
  /** What writes: `node`, `controller`. */
  readonly component: string
  /** Where lines go; stderr, as stdout is data. */
  readonly destination?: DestinationStream
}

/** A log of JSON lines, one event each: the object first, a fixed message second. */
export function createLogger({
  level,
  component,
  destination = pino.destination({ dest: 2, sync: true }),
}: LogOptions): Logger {
  return pino(
    {
      level,
      base: { component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    destination,
  )
}
