import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { COMMANDS } from './commands.ts'
import { applyConfig, readConfig } from './config.ts'
import type { Invocation, Outcome } from './invocation.ts'
import { printError, printOutcome } from './output.ts'
import { type CommandSpec, createProgram, stratumTool } from './program.ts'

/** Runs one command line. Returns the exit status. */
export async function main(argv: readonly string[], tool = stratumTool(COMMANDS)): Promise<number> {
  const { STRATUM_FAULT } = process.env
  if (STRATUM_FAULT !== undefined) (await import('../host/faults.ts')).armFaults(STRATUM_FAULT)
  const wantsJson = argv.includes('--json') || process.env.STRATUM_JSON !== undefined
  let status = 0
  process.stdout.on('error', stopWhenNobodyReads)
  const program = createProgram(tool, argv, {
    configure: async command => (tool.isConfigured ? applyConfig(command, await readConfig(), tool) : undefined),
    async call(spec, args, options) {
      status = await call(spec, args, options)
    },
  })
  if (argv.length === 0) {
    process.stdout.write(program.helpInformation())
    return 2
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return status
  } catch (error) {
    const command = argv.find(word => tool.commands.some(({ name }) => name === word))
    const parsing = asParsingError(
      error,
      command === undefined ? tool.name : `${tool.name} ${command}`,
      command !== undefined,
    )
    if (parsing === 'done') return 0
    return printError(command ?? '', parsing, { json: wantsJson, quiet: false }, process)
  }
}

/** `stratum log app | head` ends when head does. What cannot be written for another reason, to a full disk, is an error. */
function stopWhenNobodyReads(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
  process.exit(printError('', toStratumError(error, 'writing to stdout'), { json: false, quiet: false }, process))
}

/** What the parser throws: help and version were printed; everything else is a wrong usage. */
function asParsingError(error: unknown, name: string, isCommand: boolean): StratumError | 'done' {
  const { code, message } = error as { code?: string; message: string }
  if (code === 'commander.helpDisplayed' || code === 'commander.version' || code === 'commander.help') return 'done'
  if (code?.startsWith('commander.') || error instanceof TypeError)
    return new StratumError('usage', message.replace(/^error: /, ''), {
      hint: `${name} --help shows ${isCommand ? 'what it takes' : 'the commands'}`,
    })
  return toStratumError(error, name)
}

async function call(spec: CommandSpec, args: readonly string[], options: Record<string, unknown>): Promise<number> {
  const style = { json: options.json === true, quiet: options.quiet === true }
  const progress = showsProgress(style)
    ? (await import('./progress.ts')).createProgressLine(process.stderr)
    : { update: () => undefined, clear: () => undefined }
  const interrupt = listenForSignals()
  if (process.env.STRATUM_FAULT !== undefined) (await import('../host/faults.ts')).armFaults(process.env.STRATUM_FAULT)
  try {
    const { run } = await spec.load()
    const invocation: Invocation = {
      args,
      options: options as Invocation['options'],
      signal: interrupt.signal,
      onProgress: progress.update,
      confirm,
    }
    const outcome: Outcome = await run(invocation as Invocation<never>)
    progress.clear()
    return printOutcome(spec.name, outcome, style, process)
  } catch (error) {
    progress.clear()
    if (interrupt.signal.aborted)
      return printError(
        spec.name,
        new StratumError('interrupted', 'interrupted; the store is as before'),
        style,
        process,
      )
    const told = withRights(toStratumError(error, `stratum ${spec.name}`))
    if (told.code !== 'not-found') return printError(spec.name, told, style, process)
    const { withSuggestion } = await import('./suggest.ts')
    return printError(spec.name, await withSuggestion(told, String(options.store)), style, process)
  } finally {
    interrupt.stop()
  }
}

/** Whoever is not root and may not do something is told what would help. */
function withRights(error: StratumError): StratumError {
  const { code, message, hint, details } = error
  if (code !== 'permission' || process.getuid?.() === 0 || hint !== undefined) return error
  return new StratumError(code, message, { hint: "A store is root's: sudo stratum …", details, cause: error })
}

function showsProgress({ json, quiet }: { json: boolean; quiet: boolean }): boolean {
  const { TERM, CI } = process.env
  return !json && !quiet && process.stderr.isTTY === true && TERM !== 'dumb' && CI === undefined
}

/** The first Ctrl-C asks the command to stop and clear away; a second one ends the process at once, which is safe too. */
function listenForSignals(): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController()
  const stop = (): void => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeListener(name, abort)
  }
  const abort = (): void => {
    stop()
    controller.abort()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, abort)
  return { signal: controller.signal, stop }
}

async function confirm(question: string): Promise<boolean | undefined> {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) return undefined
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim())
  } finally {
    lines.close()
  }
}
