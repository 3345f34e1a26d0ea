import { shortId } from '../names/commit-id.ts'
import { toUser } from '../names/text.ts'
import type { CollectResult, Postponed } from '../repository/collect.ts'
import { count, formatBytes, formatMoment } from './format.ts'

/** What a collection did, for people: also behind `stratum remove`. */
export interface CollectedText {
  readonly lines: readonly string[]
  readonly warnings: readonly string[]
}

/** `412 MB in the trash, freed after 11:02 (now: stratum gc --now)`, and what stays although nothing names it. */
export function describeCollected(result: CollectResult | Postponed): CollectedText {
  if (!('commits' in result))
    return { lines: [`garbage is collected later (stratum gc): ${result.postponed}`], warnings: [] }
  const { commits, objects, bytes, freed, trash, postponed } = result
  const lines: string[] = []
  const taken = `${count(commits, 'commit')} and ${count(objects, 'object')}, ${formatBytes(bytes)}`
  if (commits + objects > 0) lines.push(`took ${taken}, that nothing keeps`)
  if (freed.items > 0) lines.push(`freed ${formatBytes(freed.bytes)}`)
  if (trash.freedAt !== undefined) {
    const when = formatMoment(trash.freedAt)
    lines.push(`${formatBytes(trash.bytes)} in the trash, freed after ${when} (now: stratum gc --now)`)
  }
  if (lines.length === 0) lines.push('nothing to collect')
  if (postponed !== undefined) lines.push(`the rest is collected later: ${postponed}`)
  return { lines, warnings: warningsOf(result) }
}

/** The same for programs. */
export function collectedJson(result: CollectResult | Postponed): Record<string, unknown> {
  if (!('commits' in result)) return { ...result }
  return { ...result, inUse: result.inUse.map(({ path, openness }) => ({ path: toUser(path), openness })) }
}

function warningsOf({ held, inUse }: CollectResult): string[] {
  return [
    ...held.map(({ commit, openness }) =>
      openness === 'open'
        ? `commit ${shortId(commit)} stays: somebody has its image open (stratum gc explain ${shortId(commit)})`
        : `commit ${shortId(commit)} stays: it cannot be told whether its image is mounted`,
    ),
    ...inUse.map(({ path, openness }) =>
      openness === 'open'
        ? `${toUser(path)} stays in the trash: a mount that still lives uses it`
        : `${toUser(path)} stays in the trash: it cannot be told whether a mount uses it`,
    ),
  ]
}

/** Whether something stays only because it could not be told whether it is used. */
export function isUncertain({ held, inUse }: CollectResult): boolean {
  return [...held, ...inUse].some(({ openness }) => openness === 'unknown')
}
