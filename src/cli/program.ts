import { Argument, Command as Commander, InvalidArgumentError, Option } from 'commander'
import { VERSION } from '../version.ts'
import type { Command } from './invocation.ts'

/** What a command looks like from outside; what it does is loaded when it is called. */
export interface CommandSpec {
  readonly name: string
  readonly summary: string
  readonly group: 'Work' | 'History' | 'Store' | 'Kubernetes' | 'Help'
  /** `<needed>` and `[optional]`, with what each is. */
  readonly args?: readonly (readonly [name: string, description: string])[]
  readonly options?: () => readonly Option[]
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

/** Options of a command, its own and those that every one has. */
export function optionsOf({ options }: CommandSpec, tool: Tool): Option[] {
  return [...(options?.() ?? []), ...tool.globalOptions()]
}

/**
 * The parser for a command line. Where that begins with a command, the others are there by name only, for suggestions: what all of them
 * take is made in 4 ms.
 */
export function createProgram(tool: Tool, argv: readonly string[], hooks: Hooks): Commander {
  const program = new Commander(tool.name)
    .description(tool.description)
    .version(VERSION, '-V, --version', 'print the version')
    .usage('<command> [options]')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ outputError: () => undefined }) // main.ts prints errors
  const called = tool.commands.find(({ name }) => name === argv[0])
  for (const spec of tool.commands) {
    const command = createCommand(spec)
    if (called === undefined || called === spec) equip(command, spec, tool, hooks)
    program.addCommand(command)
  }
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

function createCommand(spec: CommandSpec): Commander {
  return new Commander(spec.name)
    .description(spec.summary)
    .helpGroup(`${spec.group}:`)
    .helpOption('-h, --help', 'show help')
    .configureHelp({ optionDescription: describeOption })
    .exitOverride()
    .allowExcessArguments(false)
    .configureOutput({ outputError: () => undefined }) // main.ts prints errors
}

/** Gives a command what it takes and does. */
function equip(command: Commander, spec: CommandSpec, tool: Tool, hooks: Hooks): void {
  const options = optionsOf(spec, tool)
  forgetSwitchesThatAreOff(options)
  for (const [name, description] of spec.args ?? []) command.addArgument(new Argument(name, description))
  for (const each of options) command.addOption(each)
  if (spec.help !== undefined) command.addHelpText('after', `\n${spec.help.trim()}`)
  command.hook('preAction', () => hooks.configure(command))
  command.action(async (...given: unknown[]) => {
    const args = given
      .slice(0, -2)
      .flat()
      .filter(value => value !== undefined) as string[]
    await hooks.call(spec, args, command.opts())
  })
}

export function isSwitch(option: Option): boolean {
  return option.isBoolean() || option.negate
}

const OFF: ReadonlySet<string> = new Set(['', '0', 'false', 'no'])

/** The parser takes any value of a switch's variable for yes: STRATUM_YES=0 must not be one. */
function forgetSwitchesThatAreOff(options: readonly Option[], env: NodeJS.ProcessEnv = process.env): void {
  for (const option of options) {
    const { envVar } = option
    if (envVar !== undefined && isSwitch(option) && OFF.has(env[envVar]?.toLowerCase() ?? '1')) delete env[envVar]
  }
}
