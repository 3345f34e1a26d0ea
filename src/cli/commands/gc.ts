import type { GoingCommit } from '../../collect/describe.ts'
import type { ExplainedCommit, Explanation } from '../../collect/explain.ts'
import type { Mention } from '../../collect/mentions.ts'
import { StratumError } from '../../errors/stratum-error.ts'
import { shortId } from '../../names/commit-id.ts'
import { toUser } from '../../names/text.ts'
import { collectGarbage, explainKept, type Preview, previewCollection } from '../../repository/collect.ts'
import { collectedJson, describeCollected, isUncertain } from '../collected.ts'
import { count, formatBytes, formatMoment, formatTime } from '../format.ts'
import { type Command, type Invocation, openContext, type Outcome } from '../invocation.ts'

interface Options {
  readonly dryRun: boolean
  readonly now: boolean
  readonly allowEmpty: boolean
}

/** So many paths are shown of one commit; `--json` has more. */
const PATHS_SHOWN = 5
const NAMES_SHOWN = 3
const PARTIAL = 3

export const run: Command<Options> = async invocation => {
  const [action, what] = invocation.args
  if (action === undefined) return invocation.options.dryRun ? preview(invocation) : collect(invocation)
  if (action !== 'explain' || what === undefined)
    throw new StratumError('usage', 'stratum gc takes no argument, or: explain <commit or object>')
  return explain(invocation, what)
}

async function collect(invocation: Invocation<Options>): Promise<Outcome> {
  const { now, allowEmpty } = invocation.options
  const result = await collectGarbage(await openContext(invocation), { now, allowEmpty })
  const { lines, warnings } = describeCollected(result)
  return {
    json: collectedJson(result),
    text: lines,
    warnings,
    exitCode: isUncertain(result) ? PARTIAL : 0,
  }
}

async function preview(invocation: Invocation<Options>): Promise<Outcome> {
  const { allowEmpty } = invocation.options
  const found = await previewCollection(await openContext(invocation), { allowEmpty })
  const { commits, loose, held, trash } = found
  return {
    json: { dryRun: true, commits: commits.map(goingJson), loose, held, trash },
    text: previewLines(found),
    notes: trash.items === 0 ? [] : [`${formatBytes(trash.bytes)} are in the trash already`],
  }
}

function goingJson({ id, mentions, metadata, bytes, files, paths }: GoingCommit): Record<string, unknown> {
  return {
    commit: id,
    mentions,
    timestamp: metadata?.timestamp,
    message: metadata?.message,
    bytes,
    files,
    paths: paths.map(({ path, bytes }) => ({ path: toUser(path), bytes })),
  }
}

function previewLines({ commits, loose }: Preview): string[] {
  const lines = commits.flatMap(commit => [goingLine(commit), ...pathLines(commit)])
  if (loose.objects > 0)
    lines.push(`${count(loose.objects, 'object')} of no commit (an import was cut off)  ${formatBytes(loose.bytes)}`)
  return lines.length === 0 ? ['nothing to collect'] : lines
}

function goingLine({ id, mentions, metadata, bytes }: GoingCommit): string {
  const names = mentions.slice(0, NAMES_SHOWN).map(nameLine).join(', ') || 'a commit that no log names'
  const when = metadata === undefined ? '' : ` of ${formatTime(metadata.timestamp)}`
  return `${names}${when}  ${shortId(id)}  ${formatBytes(bytes)}`
}

/** `app:v1 (remove by root, 10:30)`. */
function nameLine({ reference, until, since, operation, actor }: Mention): string {
  return `${reference} (${operation} by ${actor}, ${formatMoment(until ?? since)})`
}

function pathLines({ paths, files }: GoingCommit): string[] {
  const shown = paths.slice(0, PATHS_SHOWN).map(({ path, bytes }) => `    /${toUser(path)}  ${formatBytes(bytes)}`)
  if (files === shown.length) return shown
  return [...shown, `    and ${count(files - shown.length, 'more file', 'more files')}`]
}

async function explain(invocation: Invocation<Options>, what: string): Promise<Outcome> {
  const found = await explainKept(await openContext(invocation), what)
  return {
    json: { found: found.map(each => ({ ...each, commits: each.commits.map(explainedJson) })) },
    text: found.flatMap(explanationLines),
  }
}

function explainedJson(commit: ExplainedCommit): Record<string, unknown> {
  return { ...commit, paths: commit.paths.map(toUser) }
}

const STATE = {
  kept: 'is kept',
  garbage: 'is kept by nothing: the next stratum gc takes it',
  trash: 'is in the trash',
} as const

function explanationLines({ kind, id, state, commits }: Explanation): string[] {
  const name = kind === 'commit' ? id.slice(0, 12) : id
  return [`${kind} ${name} ${STATE[state]}`, ...commits.flatMap(commit => chainLines(commit, kind))]
}

/** `  app:v1 → commit a1b2c3d4e5f6 → /bin/tool`, for everything that keeps it; for what nothing keeps, the names that it had. */
function chainLines({ id, holders, mentions, paths }: ExplainedCommit, kind: Explanation['kind']): string[] {
  const had = mentions.slice(0, NAMES_SHOWN).map(mention => `nothing any more; it was ${nameLine(mention)}`)
  const from = holders.length > 0 ? holders : had.length > 0 ? had : ['nothing']
  const shown = paths.slice(0, PATHS_SHOWN).map(path => `/${toUser(path)}`)
  if (paths.length > shown.length) shown.push(`${paths.length - shown.length} more`)
  const where = kind === 'commit' ? '' : ` → ${shown.join(', ')}`
  return from.map(holder => `  ${holder} → commit ${shortId(id)}${where}`)
}
