import fs from 'node:fs'
import type { Command as Commander, Option } from 'commander'
import { StratumError } from '../errors/stratum-error.ts'
import { type CommandSpec, isSwitch, optionsOf, type Tool } from './program.ts'

/** Where defaults for options are kept: `[options]` for every command, `[options.<command>]` for one. A flag or variable beats them. */
export const CONFIG_FILE = '/etc/stratum/config.toml'
const CONFIG_VARIABLE = 'STRATUM_CONFIG'

export function configFile(env: NodeJS.ProcessEnv = process.env): string {
  return env[CONFIG_VARIABLE] ?? CONFIG_FILE
}

type Values = Readonly<Record<string, unknown>>

/** The file's options; none where it is missing. @throws usage with line and column where it is no TOML */
export async function readConfig(path = configFile()): Promise<Values> {
  if (!fs.existsSync(path)) return {}
  const { parse } = await import('smol-toml')
  try {
    const { options = {} } = parse(fs.readFileSync(path, 'utf8')) as { options?: unknown }
    if (typeof options !== 'object' || options === null) throw new Error('[options] is not a table')
    return options as Values
  } catch (cause) {
    throw new StratumError('usage', `${path}: ${(cause as Error).message.split('\n')[0]}`, {
      cause,
      hint: 'docs/cli.md shows what the file may hold',
    })
  }
}

/** Gives a command's options the file's values, unless a flag or variable says otherwise. @throws usage, with the key */
export function applyConfig(command: Commander, config: Values, tool: Tool): void {
  requireKnown(tool, config)
  const own = config[command.name()]
  for (const [key, value] of Object.entries({ ...common(config), ...(isTable(own) ? own : {}) })) {
    const option = command.options.find(option => option.name() === key)
    const source = option && command.getOptionValueSource(option.attributeName())
    if (option === undefined || source === 'cli' || source === 'env') continue
    command.setOptionValueWithSource(option.attributeName(), parseValue(command, option, value), 'config')
  }
}

function parseValue(command: Commander, option: Option, value: unknown): unknown {
  const wanted = isSwitch(option) ? 'boolean' : 'string or number'
  if (!wanted.includes(typeof value)) throw wrong(`${option.name()} of [options.${command.name()}] must be a ${wanted}`)
  if (typeof value === 'boolean') return option.negate ? !value : value
  try {
    return option.parseArg ? option.parseArg(String(value), undefined) : String(value)
  } catch (error) {
    throw wrong(`${option.name()} of [options.${command.name()}] is ${String(value)}. ${(error as Error).message}`)
  }
}

/** A name that is nobody's was meant to be somebody's. */
function requireKnown(tool: Tool, config: Values): void {
  const { commands } = tool
  const has = (spec: CommandSpec, key: string): boolean => optionsOf(spec, tool).some(option => option.name() === key)
  for (const [name, value] of Object.entries(config)) {
    if (!isTable(value)) {
      if (!commands.some(each => has(each, name))) throw wrong(`${name} of [options] is no option`)
      continue
    }
    const owner = commands.find(each => each.name === name)
    if (owner === undefined) throw wrong(`[options.${name}] is no command`)
    for (const key of Object.keys(value)) if (!has(owner, key)) throw wrong(`${key} of [options.${name}] is no option`)
  }
}

/** What is no table is for every command. */
function common(config: Values): Values {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => !isTable(value)))
}

function isTable(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wrong(what: string): StratumError {
  return new StratumError('usage', `${configFile()}: ${what}`, { hint: 'stratum config show lists every option' })
}
