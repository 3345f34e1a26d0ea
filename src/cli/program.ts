import { Argument, Command as Commander, InvalidArgumentError, Option } from 'commander'
import type { Command } from './invocation.ts'

/** What a command looks like from outside; what it does is loaded when it is called. */
export interface CommandSpec {
  readonly name: string
  readonly summary: string
  readonly group: 'Work' | 'History' | 'Store' | 'Kubernetes' | 'Help'
  /** `<needed>` and `[optional]`, with what each is. */
  readonly args?: readonly (readonly [name: string, description: string])[]
  readonly options?: readonly Option[]
  /** More for `--help`: rules and examples. */
  readonly help?: string
  readonly load: () => Promise<{ run: Command<never> }>
}

export const DEFAULT_STORE = '/var/lib/stratum'
const LOCK_TIMEOUT_SECONDS = 30

/** An option with its STRATUM_ variable: `--max-pause <ms>` is STRATUM_MAX_PAUSE, `--no-save` STRATUM_NO_SAVE. */
export function option(flags: string, description: string): Option {
  const made = new Option(flags, description)
  return made.env(`STRATUM_${made.name().replaceAll('-', '_').toUpperCase()}`)
}

export function globalOptions(): Option[] {
  return [
    option('--store <path>', 'the store').default(DEFAULT_STORE),
    option('--json', 'print JSON: docs/schema/cli-1.json has its fields').default(false),
    option('-q, --quiet', 'print only the id, name or path that was asked for').default(false),
    option('--lock-timeout <seconds>', 'how long to wait for another command')
      .default(LOCK_TIMEOUT_SECONDS)
      .argParser(nonNegative),
  ]
}

/** A number that is not below zero, for options. */
export function nonNegative(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('It must be a number of at least 0.')
  return value
}

/** A program with commands: `stratum`, or `kubectl stratum`. */
export interface Tool {
  readonly name: string
  readonly description: string
  readonly commands: readonly CommandSpec[]
  /** Options of every command. */
  readonly globalOptions: () => Option[]
  /** Whether the configuration file gives values to options. */
  readonly isConfigured: boolean
}

/** `stratum` itself. */
export function stratumTool(commands: readonly CommandSpec[]): Tool {
  const description = 'Commits, tags and a writable HEAD for directories, mounted by the kernel'
  return { name: 'stratum', description, commands, globalOptions, isConfigured: true }
}

/** Before a command runs, `configure` may give its options values of a file. */
interface Hooks {
  configure(command: Commander): Promise<void>
  call(spec: CommandSpec, args: readonly string[], options: Record<string, unknown>): Promise<void>
}

/** The parser for all commands. */
export function createProgram(tool: Tool, version: string, hooks: Hooks): Commander {
  const program = new Commander(tool.name)
    .description(tool.description)
    .version(version, '-V, --version', 'print the version')
    .usage('<command> [options]')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ outputError: () => undefined }) // main.ts prints errors
  for (const spec of tool.commands) program.addCommand(createCommand(spec, tool, hooks))
  return program
}

/** As Commander does it, but of a switch nobody needs to hear that it is off unless it is on. */
function describeOption({ description, argChoices, defaultValue, defaultValueDescription, envVar }: Option): string {
  const hasDefault = defaultValue !== undefined && typeof defaultValue !== 'boolean'
  const notes = [
    ...(argChoices === undefined ? [] : [`one of ${argChoices.join(', ')}`]),
    ...(hasDefault ? [`default: ${defaultValueDescription ?? JSON.stringify(defaultValue)}`] : []),
    ...(envVar === undefined ? [] : [`env: ${envVar}`]),
  ]
  return notes.length === 0 ? description : `${description} (${notes.join(', ')})`
}

function createCommand(spec: CommandSpec, tool: Tool, hooks: Hooks): Commander {
  const command = new Commander(spec.name)
    .description(spec.summary)
    .helpGroup(`${spec.group}:`)
    .helpOption('-h, --help', 'show help')
    .configureHelp({ optionDescription: describeOption })
    .exitOverride()
    .allowExcessArguments(false)
    .configureOutput({ outputError: () => undefined }) // main.ts prints errors
  for (const [name, description] of spec.args ?? []) command.addArgument(new Argument(name, description))
  for (const each of [...(spec.options ?? []), ...tool.globalOptions()]) command.addOption(each)
  if (spec.help !== undefined) command.addHelpText('after', `\n${spec.help.trim()}`)
  command.hook('preAction', () => hooks.configure(command))
  return command.action(async (...given: unknown[]) => {
    const args = given
      .slice(0, -2)
      .flat()
      .filter(value => value !== undefined) as string[]
    await hooks.call(spec, args, command.opts())
  })
}
