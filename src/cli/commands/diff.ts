import { parseReference } from '../../names/reference.ts'
import { toUser } from '../../names/text.ts'
import { diffTrees } from '../../repository/diff.ts'
import { isDirectory } from '../../tree/append.ts'
import type { Difference } from '../../tree/diff.ts'
import type { Entry } from '../../tree/entry.ts'
import { formatBytes } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly exitCode: boolean
}

/** As diff(1) and git do, but never by accident: only when it is asked for. */
const EXIT_DIFFERENCES = 20

export const run: Command<Options> = async invocation => {
  const [a, b] = invocation.args
  const context = await openContext(invocation)
  const { from, to, differences, summary } = await diffTrees(
    context,
    parseReference(a),
    b === undefined ? undefined : parseReference(b),
  )
  const [before, after] = [from, to].map(name => name.replace(/(?<=:[0-9a-f]{12})[0-9a-f]{52}$/, ''))
  return {
    json: { from, to, differences: differences.length, ...summary },
    jsonLines: differences.map(asJson),
    text: differences.map(asLine),
    notes: [
      differences.length === 0
        ? `${before} and ${after} are the same`
        : `${before} → ${after}: +${summary.added} -${summary.removed} M${summary.modified}, ${formatBytes(summary.bytesAdded)} new`,
    ],
    exitCode: differences.length > 0 && invocation.options.exitCode ? EXIT_DIFFERENCES : 0,
  }
}

export function asJson({ kind, path, before, after, contentChanged }: Difference): Record<string, unknown> {
  const describe = ({ mode, uid, gid, size, digest }: Entry): Record<string, unknown> => ({
    mode: mode.toString(8),
    uid,
    gid,
    size,
    ...(digest && { digest }),
  })
  return {
    kind,
    path: toUser(path),
    contentChanged,
    ...(before && { before: describe(before) }),
    ...(after && { after: describe(after) }),
  }
}

/** `M path (1.2 kB → 1.3 kB)` */
export function asLine({ kind, path, before, after, contentChanged }: Difference): string {
  const entry = after ?? before
  const name = `${toUser(path) || '.'}${isDirectory(entry?.mode ?? 0) ? '/' : ''}`
  return `${kind} ${name}${sizes(before, after, kind === 'M' && !contentChanged)}`
}

function sizes(before: Entry | undefined, after: Entry | undefined, attributesOnly: boolean): string {
  if (attributesOnly) return isDirectory(after?.mode ?? 0) ? '' : ' (attributes)'
  const of = (entry: Entry): string => formatBytes(entry.size)
  if (before !== undefined && after !== undefined)
    return before.size === after.size ? '' : ` (${of(before)} → ${of(after)})`
  const entry = after ?? before
  return entry === undefined || entry.mode >> 12 !== 8 ? '' : ` (${of(entry)})`
}
