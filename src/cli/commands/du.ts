import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { type CommitRow, measureLabel, measureStore, type StoreUsage } from '../../repository/du.ts'
import { formatBytes, formatTable } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

export const run: Command = async invocation => {
  const [text] = invocation.args
  const context = await openContext(invocation)
  if (text === undefined) {
    const usage = await measureStore(context)
    return { json: { ...usage }, text: storeText(usage) }
  }
  const { row, commits } = await measureLabel(context, parseReference(text))
  return {
    json: { ...row, commits },
    text: commits.length === 0 ? '' : labelTable(commits),
    notes: row.head > 0 ? [`HEAD holds ${formatBytes(row.head)} that are in no commit`] : [],
    ...(commits.length === 1 ? { quiet: String(commits[0].frees) } : {}),
  }
}

function storeText({ labels, objects, unused, commits, heads, trash, quarantine, staging }: StoreUsage): string {
  const rows = labels.map(({ label, commits, bytes, exclusive, head }) => [
    label,
    String(commits),
    formatBytes(bytes),
    formatBytes(exclusive),
    formatBytes(head),
  ])
  const sums: [string, number][] = [
    ['objects', objects.bytes],
    ['of them in no commit', unused.bytes],
    ['commits', commits],
    ['HEADs', heads],
    ['trash', trash],
    ['quarantine', quarantine],
    ['staging', staging],
    ['all', objects.bytes + commits + heads + trash + quarantine + staging],
  ]
  const shown = sums.filter(([name, bytes]) => bytes > 0 || name === 'all')
  const store = formatTable(
    ['STORE', 'SIZE'],
    shown.map(([name, bytes]) => [name, formatBytes(bytes)]),
    [1],
  )
  if (rows.length === 0) return store
  return `${formatTable(['LABEL', 'COMMITS', 'SIZE', 'ONLY HERE', 'HEAD'], rows, [1, 2, 3, 4])}\n\n${store}`
}

function labelTable(commits: readonly CommitRow[]): string {
  const rows = commits.map(({ id, tags, files, size, bytes, exclusive, frees, keptBy }) => [
    tags.filter(tag => tag !== (id as string)).join(', ') || '-',
    shortId(id),
    String(files),
    formatBytes(size),
    formatBytes(bytes),
    formatBytes(exclusive),
    formatBytes(frees),
    keptBy.join(', '),
  ])
  const head = ['TAGS', 'COMMIT', 'FILES', 'SIZE', 'ON DISK', 'ONLY HERE', 'REMOVING FREES', 'ALSO KEPT BY']
  return formatTable(head, rows, [2, 3, 4, 5, 6])
}
