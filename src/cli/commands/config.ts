import { StratumError } from '../../errors/stratum-error.ts'
import { formatTable } from '../format.ts'
import type { Command, Outcome } from '../invocation.ts'
import { applyConfig, configFile, readConfig } from '../config.ts'
import { type CommandSpec, createProgram, stratumTool } from '../program.ts'

interface Setting {
  readonly command: string
  readonly option: string
  readonly value: unknown
  readonly source: string
  readonly variable: string
}

/** Every option's value as a command would see it, and where it comes from. */
export function configOf(commands: readonly CommandSpec[]): Command {
  return ({ args }) => show(commands, args)
}

async function show(commands: readonly CommandSpec[], args: readonly string[]): Promise<Outcome> {
  if (args[0] !== 'show') throw new StratumError('usage', `config ${args[0]}: only "config show" is known`)
  const settings = await readSettings(commands)
  const shared = new Map(
    settings.map(setting => [`${setting.option} ${JSON.stringify(setting.value)} ${setting.source}`, setting]),
  )
  const rows = [...shared.values()].map(({ command, option, value, source, variable }) => [
    settings.filter(other => other.option === option).length === commands.length ? '(all)' : command,
    `--${option}`,
    value === undefined ? '' : JSON.stringify(value),
    source,
    variable,
  ])
  return {
    json: { file: configFile(), settings },
    text: formatTable(['COMMAND', 'OPTION', 'VALUE', 'FROM', 'VARIABLE'], rows),
    notes: [`file: ${configFile()}`],
  }
}

async function readSettings(commands: readonly CommandSpec[]): Promise<Setting[]> {
  const config = await readConfig()
  const tool = stratumTool(commands)
  const program = createProgram(tool, [], {
    configure: async () => undefined,
    call: async () => undefined,
  })
  return program.commands
    .filter(command => commands.some(({ name }) => name === command.name()))
    .flatMap(command => {
      applyConfig(command, config, tool)
      return command.options.flatMap(option => {
        if (option.name() === 'help') return []
        const fromEnv = option.envVar !== undefined && process.env[option.envVar] !== undefined
        const key = option.attributeName()
        const source = fromEnv ? 'variable' : command.getOptionValueSource(key) === 'config' ? 'file' : 'default'
        const set = command.getOptionValue(key)
        const value = fromEnv ? process.env[option.envVar as string] : option.negate ? !set : set
        return [{ command: command.name(), option: option.name(), value, source, variable: option.envVar ?? '' }]
      })
    })
}
