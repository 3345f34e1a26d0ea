import { toUser } from '../../names/text.ts'
import { examine } from '../../repository/doctor.ts'
import { formatTable } from '../format.ts'
import { absolute, type Command } from '../invocation.ts'

const EXIT_MISSING = 11
const MARKS = { ok: 'ok', note: 'note', missing: 'MISSING' } as const

export const run: Command = async ({ options }) => {
  const store = absolute(options.store)
  const findings = await examine(store)
  const missing = findings.filter(({ state }) => state === 'missing')
  return {
    json: { store: toUser(store), findings },
    text: formatTable(
      ['', 'WHAT', 'FOUND'],
      findings.map(({ what, found, state }) => [MARKS[state], what, found]),
    ),
    notes: findings.flatMap(({ what, advice }) => (advice === undefined ? [] : [`${what}: ${advice}`])),
    quiet: missing.map(({ what }) => what).join('\n'),
    exitCode: missing.length > 0 ? EXIT_MISSING : 0,
  }
}
