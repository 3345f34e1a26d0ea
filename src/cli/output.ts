import { ERROR_TABLE } from '../errors/table.ts'
import type { StratumError } from '../errors/stratum-error.ts'
import type { Outcome } from './invocation.ts'

/** Version of the JSON that commands print: fields are added within one, never taken away or given another meaning. */
export const JSON_SCHEMA = 1

export interface Streams {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
}

interface Style {
  readonly json: boolean
  readonly quiet: boolean
}

/** Prints what a command returned: data to stdout, everything else to stderr. Returns the exit status. */
export function printOutcome(
  command: string,
  outcome: Outcome,
  { json, quiet }: Style,
  { stdout, stderr }: Streams,
): number {
  if (json) printJson(command, outcome, stdout)
  else if (quiet) printQuiet(outcome, stdout)
  else printText(outcome.text ?? '', stdout)
  if (!json && !quiet) for (const note of outcome.notes ?? []) stderr.write(`${note}\n`)
  if (!json) printWarnings(outcome.warnings ?? [], stderr)
  return outcome.exitCode ?? 0
}

const WARNINGS_SHOWN = 20

function printWarnings(warnings: readonly string[], stderr: Streams['stderr']): void {
  for (const warning of warnings.slice(0, WARNINGS_SHOWN)) stderr.write(`warning: ${warning}\n`)
  const left = warnings.length - WARNINGS_SHOWN
  if (left > 0) stderr.write(`warning: and ${left} more, which --json lists\n`)
}

function printJson(command: string, outcome: Outcome, stdout: Streams['stdout']): void {
  const { jsonLines, json, warnings, exitCode } = outcome
  for (const line of jsonLines ?? [])
    stdout.write(`${JSON.stringify({ schema: JSON_SCHEMA, command, type: 'item', ...line })}\n`)
  const extra = { ...(warnings?.length ? { warnings } : {}), ...(exitCode ? { exitCode } : {}) }
  stdout.write(
    `${JSON.stringify({ schema: JSON_SCHEMA, command, ...(jsonLines === undefined ? {} : { type: 'summary' }), ...json, ...extra })}\n`,
  )
}

function printQuiet({ quiet }: Outcome, stdout: Streams['stdout']): void {
  if (quiet !== undefined && quiet !== '') stdout.write(`${quiet}\n`)
}

function printText(text: string | Iterable<string>, stdout: Streams['stdout']): void {
  const lines = typeof text === 'string' ? (text === '' ? [] : [text]) : text
  for (const line of lines) stdout.write(line.endsWith('\n') ? line : `${line}\n`)
}

/** Prints an error, as text or as the JSON object that programs get. Returns the exit status. */
export function printError(command: string, error: StratumError, { json }: Style, { stdout, stderr }: Streams): number {
  const { exit } = ERROR_TABLE[error.code]
  if (json) {
    const { code, message, hint, details } = error
    const facts = {
      code,
      exitCode: exit,
      message,
      ...(hint === undefined ? {} : { hint }),
      ...(Object.keys(details).length === 0 ? {} : { details }),
    }
    stdout.write(`${JSON.stringify({ schema: JSON_SCHEMA, command, type: 'error', error: facts })}\n`)
    return exit
  }
  stderr.write(`error: ${error.message}\n`)
  if (error.hint !== undefined) stderr.write(`  ${error.hint}\n`)
  return exit
}
