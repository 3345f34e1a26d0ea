import { parseReference } from '../../names/reference.ts'
import { fromUser, toUser } from '../../names/text.ts'
import { type ListedEntry, listEntries } from '../../repository/browse.ts'
import type { Entry } from '../../tree/entry.ts'
import { formatTable, formatTime } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly long: boolean
  readonly recursive: boolean
}

export const run: Command<Options> = async invocation => {
  const [reference, path = ''] = invocation.args
  const { long, recursive } = invocation.options
  const entries = await listEntries(await openContext(invocation), parseReference(reference), fromUser(path), recursive)
  const names = entries.map(({ path: at, entry }) => `${toUser(at)}${entry.mode >> 12 === 4 ? '/' : ''}`)
  return {
    json: { entries: entries.length },
    jsonLines: entries.map(asJson),
    text: long ? longList(entries) : names,
    quiet: names.join('\n'),
  }
}

function asJson({ path, entry }: ListedEntry): Record<string, unknown> {
  const { mode, uid, gid, size, digest, data, seconds, nanoseconds } = entry
  const target = mode >> 12 === 10 ? { target: toUser(data) } : {}
  return {
    path: toUser(path),
    mode: mode.toString(8),
    uid,
    gid,
    size,
    mtime: timestamp(seconds, nanoseconds),
    ...(digest && { digest }),
    ...target,
  }
}

function timestamp(seconds: number, nanoseconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(nanoseconds).padStart(9, '0')}Z`
}

function longList(entries: readonly ListedEntry[]): string {
  const rows = entries.map(({ path, entry }) => {
    const target = entry.mode >> 12 === 10 ? ` -> ${toUser(entry.data)}` : ''
    return [
      modeText(entry),
      String(entry.uid),
      String(entry.gid),
      String(entry.size),
      formatTime(new Date(entry.seconds * 1000).toISOString()),
      `${toUser(path)}${target}`,
    ]
  })
  return entries.length === 0 ? '' : formatTable(['MODE', 'UID', 'GID', 'SIZE', 'MODIFIED', 'NAME'], rows, [1, 2, 3])
}

const TYPES: Readonly<Record<number, string>> = { 1: 'p', 2: 'c', 4: 'd', 6: 'b', 8: '-', 10: 'l', 12: 's' }

/** `-rwxr-xr-x`, as ls(1) shows it. */
function modeText({ mode }: Entry): string {
  const bits = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'].map((letter, i) => ((mode >> (8 - i)) & 1 ? letter : '-'))
  for (const [bit, place, set, plain] of [
    [0o4000, 2, 's', 'S'],
    [0o2000, 5, 's', 'S'],
    [0o1000, 8, 't', 'T'],
  ] as const) {
    if (mode & bit) bits[place] = bits[place] === 'x' ? set : plain
  }
  return `${TYPES[mode >> 12] ?? '?'}${bits.join('')}`
}
