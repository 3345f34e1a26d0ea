import { shortId } from '../../names/commit-id.ts'
import { parseLabel } from '../../names/label.ts'
import type { LogEntry } from '../../refs/log.ts'
import { readHistory } from '../../repository/list.ts'
import { formatTime } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly number?: number
}

export const run: Command<Options> = async invocation => {
  const { store } = await openContext(invocation)
  const label = parseLabel(invocation.args[0])
  const entries = readHistory(store, label, invocation.options.number)
  return {
    json: { label, entries: entries.length },
    jsonLines: entries.map(entry => ({ ...entry })),
    text: entries.map(describe),
    quiet: entries.map(({ time, operation }) => `${time} ${operation}`).join('\n'),
  }
}

function describe({ time, actor, operation, refs, message, unstable }: LogEntry): string {
  const moves = Object.entries(refs).map(([ref, { from, to }]) => {
    const name = ref.replace(/^tags\//, '').replace(/^[0-9a-f]{64}$/, '(automatic tag)')
    if (to === null) return `${name} removed (was ${from === null ? '' : shortId(from)})`
    return from === null || from === to ? `${name} = ${shortId(to)}` : `${name} ${shortId(from)} → ${shortId(to)}`
  })
  const lines = [`${formatTime(time)}  ${operation.padEnd(8)} ${actor}  ${moves.join(', ')}`]
  if (message !== undefined) lines.push(`    ${message}`)
  if (unstable !== undefined)
    lines.push(`    did not hold still: ${unstable.slice(0, 5).join(', ')}${unstable.length > 5 ? ', …' : ''}`)
  return lines.join('\n')
}
