import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands.ts'
import { globalOptions } from '../../src/cli/program.ts'

const TEMPLATES = path.resolve(import.meta.dirname, '../../charts/stratum/templates')

for (const [command, file] of [
  ['node', 'node/daemonset.yaml'],
  ['controller', 'controller/deployment.yaml'],
] as const)
  test(`the chart starts stratum ${command} with options that it has`, () => {
    const lines = fs.readFileSync(path.join(TEMPLATES, file), 'utf8').split('\n')
    const first = lines.findIndex(line => line.trim() === `- ${command}`)
    const own = lines.slice(
      first + 1,
      lines.findIndex((line, i) => i > first && /^ +\w+:/.test(line)),
    )
    const flags = own.flatMap(line => line.match(/^ +- (--[a-z-]+)/)?.[1] ?? [])
    const spec = COMMANDS.find(({ name }) => name === command)
    const known = [...(spec?.options?.() ?? []), ...globalOptions()].map(({ long }) => long)
    assert.ok(flags.length > 2, own.join('\n'))
    assert.deepEqual(
      flags.filter(flag => !known.includes(flag)),
      [],
    )
  })
