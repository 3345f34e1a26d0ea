import { shortId } from '../../names/commit-id.ts'
import { parseLabel } from '../../names/label.ts'
import { listAllLabels, listTags } from '../../repository/list.ts'
import { look } from '../../repository/look.ts'
import { formatBytes, formatCount, formatTable, formatTime } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'
import type { Outcome } from '../invocation.ts'
import type { Store } from '../../store/layout.ts'

export const run: Command = async invocation => {
  const context = await openContext(invocation)
  const [label] = invocation.args
  // Else a commit that is removed and collected just now would be shown as missing.
  return await look(context, [], () =>
    label === undefined ? showLabels(context.store) : showTags(context.store, label),
  )
}

function showLabels(store: Store): Outcome {
  const labels = listAllLabels(store)
  const rows = labels.map(({ label, tags, head, newest }) => [
    label,
    String(tags),
    head === undefined ? '' : shortId(head.lastCommit),
    newest === undefined ? '' : formatTime(newest.timestamp),
    newest === undefined ? '' : formatBytes(newest.bytes),
  ])
  return {
    json: {
      labels: labels.map(({ label, tags, head, newest }) => ({
        label,
        tags,
        ...(head && { head: head.lastCommit, base: head.base }),
        ...(newest && { commit: newest.id, timestamp: newest.timestamp, bytes: newest.bytes, files: newest.files }),
      })),
    },
    text: labels.length === 0 ? '' : formatTable(['LABEL', 'TAGS', 'HEAD', 'COMMITTED', 'SIZE'], rows, [1, 4]),
    quiet: labels.map(({ label }) => label).join('\n'),
    notes: labels.length === 0 ? ['the store is empty'] : [],
  }
}

function showTags(store: Store, name: string): Outcome {
  const label = parseLabel(name)
  const tags = listTags(store, label)
  const rows = tags.map(({ tag, commit, metadata }) => [
    tag === (commit as string) ? `${shortId(commit)}…` : tag,
    shortId(commit),
    metadata === undefined ? 'missing!' : formatTime(metadata.timestamp),
    metadata === undefined ? '' : formatBytes(metadata.bytes),
    metadata === undefined ? '' : formatCount(metadata.files),
  ])
  return {
    json: {
      label,
      tags: tags.map(({ tag, commit, metadata }) => ({
        tag,
        commit,
        ...(metadata === undefined
          ? { missing: true }
          : { timestamp: metadata.timestamp, bytes: metadata.bytes, files: metadata.files }),
      })),
    },
    text: tags.length === 0 ? '' : formatTable(['TAG', 'COMMIT', 'COMMITTED', 'SIZE', 'FILES'], rows, [3, 4]),
    quiet: tags.map(({ tag }) => tag).join('\n'),
    notes: tags.length === 0 ? [`${label} has no tags`] : [],
    warnings: tags
      .filter(({ metadata }) => metadata === undefined)
      .map(({ tag }) => `${label}:${tag} names a commit that is missing: stratum fsck`),
  }
}
