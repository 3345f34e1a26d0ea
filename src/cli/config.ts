import fs from 'node:fs'
import type { Command as Commander } from 'commander'
import { StratumError } from '../errors/stratum-error.ts'

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

/** Gives a command's options the file's values; those that it does not know, or of a wrong type, are errors. @throws usage */
export function applyConfig(command: Commander, config: Values): void {
  const own = config[command.name()]
  const values = { ...common(config), ...(typeof own === 'object' && own !== null ? own : {}) }
  for (const [key, value] of Object.entries(values)) {
    const known = command.options.find(option => option.name() === key)
    if (known === undefined && own !== undefined && key in (own as object)) throw wrong(command, key, 'is no option')
    if (known === undefined) continue
    const wanted = known.isBoolean() || known.negate ? 'boolean' : 'string or number'
    if (!wanted.includes(typeof value)) throw wrong(command, key, `must be a ${wanted}`)
    const parsed =
      typeof value === 'boolean' ? value : known.parseArg ? known.parseArg(String(value), undefined) : String(value)
    command.setOptionValueWithSource(known.attributeName(), parsed, 'config')
  }
}

/** What is no table is for every command. */
function common(config: Values): Values {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => typeof value !== 'object'))
}

function wrong(command: Commander, key: string, what: string): StratumError {
  return new StratumError('usage', `${configFile()}: ${key} of [options.${command.name()}] ${what}`)
}
