import fs from 'node:fs'
import path from 'node:path'
import type { Option } from 'commander'
import { COMMANDS } from '../src/cli/commands.ts'
import { type CommandSpec, globalOptions } from '../src/cli/program.ts'

/** Writes the list of commands in docs/cli.md from the table that the command line itself is made of: `npm run docs`. */
export const CLI_PAGE = path.resolve(import.meta.dirname, '../docs/cli.md')
const MARK = /(<!-- commands: npm run docs -->\n)[\s\S]*(<!-- end of commands -->)/

if (process.argv[1] === import.meta.filename)
  fs.writeFileSync(CLI_PAGE, withReference(fs.readFileSync(CLI_PAGE, 'utf8')))

/** The page with the list as it should be. */
export function withReference(page: string): string {
  const sections = COMMANDS.map(commandSection)
  return page.replace(
    MARK,
    (_, begin: string, end: string) => `${begin}\n${[...sections, globalSection()].join('\n')}\n${end}`,
  )
}

function commandSection({ name, summary, args = [], options: ownOptions = () => [], help }: CommandSpec): string {
  const options = ownOptions()
  const usage = ['stratum', name, ...args.map(([arg]) => arg), ...(options.length > 0 ? ['[options]'] : [])].join(' ')
  const rows = [...args.map(([arg, what]) => row(arg, what)), ...options.filter(({ hidden }) => !hidden).map(optionRow)]
  const more = help === undefined ? [] : ['', '```text', help.trim(), '```']
  const table = rows.length === 0 ? [] : ['', '| | |', '|---|---|', ...rows]
  return [`### ${name}`, '', `\`${usage}\`: ${summary}.`, ...table, ...more, ''].join('\n')
}

function globalSection(): string {
  return ['### Options of every command', '', '| | |', '|---|---|', ...globalOptions().map(optionRow), ''].join('\n')
}

function optionRow({ flags, description, envVar, defaultValue }: Option): string {
  const standard = defaultValue === undefined || defaultValue === false ? '' : ` (else ${String(defaultValue)})`
  return row(flags, `${description}${standard} · \`${envVar}\``)
}

function row(name: string, what: string): string {
  return `| \`${name.replaceAll('|', '\\|')}\` | ${what.replaceAll('|', '\\|').replaceAll('<', '\\<')} |`
}
