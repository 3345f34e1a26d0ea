import { type Image, latin1 } from '../../src/erofs/arena.ts'
import { eachEntry } from '../../src/erofs/directory.ts'
import { createInode, readData, readInode } from '../../src/erofs/inode.ts'
import { LAYOUT } from '../../src/erofs/format.ts'
import { digestAt, userXattrs, type Xattr } from '../../src/erofs/xattrs.ts'
import { type Change, childChange, type Entry } from '../../src/tree/entry.ts'
import { isDirectoryEntry } from './random-tree.ts'

/** The text of composefs-dump(5) for a tree given as changes of nothing, and for an image as our reader sees it. */
export function dumpOfChange(root: Change): string {
  const names = new Map<Entry, string[]>()
  const collect = (change: Change, path: string): void => {
    for (const [name, child] of change.children ?? []) {
      if (!child.entry) continue
      const at = `${path}/${escape(name)}`
      const list = names.get(child.entry)
      if (list === undefined || !child.entry.linked) names.set(child.entry, [at])
      else list.push(at)
      collect(child, at)
    }
  }
  const order = (change: Change): Change => {
    const children = [...(change.children ?? [])]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, child]) => [name, order(child)] as const)
    return { ...change, children: new Map(children) }
  }
  const sorted = order(root)
  collect(sorted, '')
  const lines: string[] = []
  const emit = (change: Change, path: string): void => {
    const entry = change.entry as Entry
    const [primary] = names.get(entry) ?? [path]
    if (primary !== path && path !== '') lines.push(`${path} 0 @${(entry.mode).toString(8)} 1 0 0 0 0.0 ${primary} - -`)
    else lines.push(lineOf(path || '/', entry, isDirectoryEntry(entry) ? 2 : (names.get(entry)?.length ?? 1)))
    for (const [name, child] of change.children ?? []) if (child.entry) emit(child, `${path}/${escape(name)}`)
  }
  emit(sorted, '')
  return `${lines.join('\n')}\n`
}

export function dumpOfImage(image: Image): string {
  const lines: string[] = []
  const first = new Map<number, string>()
  const emit = (node: number, path: string): void => {
    const inode = readInode(image, node, createInode())
    const type = inode.mode >> 12
    const before = type === 4 ? undefined : first.get(node)
    if (before !== undefined) {
      lines.push(`${path} 0 @${inode.mode.toString(8)} - - - - 0.0 ${before} - -`)
      return
    }
    first.set(node, path)
    const at = digestAt(image, node, inode)
    const entry: Entry = {
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      seconds: inode.seconds,
      nanoseconds: inode.nanoseconds,
      size: type === 4 ? 0 : inode.size,
      digest: at < 0 ? undefined : Buffer.from(latin1(image.arena, at, 32), 'latin1').toString('hex'),
      data: type === 4 || inode.layout === LAYOUT.chunks ? '' : readData(image, node, inode),
      device: type === 2 || type === 6 ? inode.raw : 0,
      xattrs: userXattrs(image, node, inode),
      linked: false,
    }
    lines.push(lineOf(path || '/', entry, inode.links))
    const children: [number, string][] = []
    if (type === 4) eachEntry(image, node, (name, child) => children.push([child, `${path}/${escape(name)}`]))
    for (const [child, at] of children) emit(child, at)
  }
  emit(image.root, '')
  return `${lines.join('\n')}\n`
}

/** `composefs-info dump` prints directory sizes and hard links in forms of its own: both sides are brought to one. */
export function normalizeDump(text: string): string {
  return text
    .split('\n')
    .map(line => {
      const fields = line.split(' ')
      if (fields.length < 11) return line
      if (fields[2].startsWith('@')) return [fields[0], '@', fields[8]].join(' ')
      if (fields[2].startsWith('4') && fields[2].length === 5) fields[1] = '0'
      return [...fields.slice(0, 11), ...fields.slice(11).sort()].join(' ')
    })
    .join('\n')
}

function lineOf(path: string, entry: Entry, links: number): string {
  const isLink = entry.mode >> 12 === 10
  const payload = isLink
    ? optional(entry.data)
    : entry.digest
      ? `${entry.digest.slice(0, 2)}/${entry.digest.slice(2)}`
      : '-'
  const content = !isLink && entry.data !== '' ? optional(entry.data) : '-'
  const size = isLink ? entry.data.length : entry.size
  const xattrs = entry.xattrs.map(([name, value]: Xattr) => ` ${escape(name, true)}=${escape(value, true)}`)
  const fields = [
    path,
    size,
    entry.mode.toString(8),
    links,
    entry.uid,
    entry.gid,
    entry.device,
    `${entry.seconds}.${entry.nanoseconds}`,
  ]
  return `${fields.join(' ')} ${payload} ${content} ${entry.digest ?? '-'}${xattrs.join('')}`
}

/** A field that may be missing, which a lone dash says. */
function optional(text: string): string {
  return text === '-' ? '\\x2d' : escape(text)
}

function escape(text: string, xattr = false): string {
  let escaped = ''
  for (const character of text) {
    const code = character.charCodeAt(0)
    if (character === '\\') escaped += '\\\\'
    else if (code === 10) escaped += '\\n'
    else if (code === 13) escaped += '\\r'
    else if (code === 9) escaped += '\\t'
    else if (code <= 0x20 || code >= 0x7f || (xattr && character === '='))
      escaped += `\\x${code.toString(16).padStart(2, '0')}`
    else escaped += character
  }
  return escaped
}

/** The tree of a dump, as changes of nothing. */
export function changeOfDump(text: string): Change {
  const root: Change = {}
  const links: [Change, string][] = []
  const at = (path: string): Change => {
    let change = root
    for (const name of path.split('/')) if (name !== '') change = childChange(change, unescape(name))
    return change
  }
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    if (fields.length < 11) continue
    if (fields[2].startsWith('@')) links.push([at(fields[0]), fields[8]])
    else at(fields[0]).entry = entryOfFields(fields)
  }
  for (const [change, target] of links) {
    const entry = at(target).entry as { linked: boolean } & Entry
    entry.linked = true
    change.entry = entry
  }
  return root
}

function entryOfFields(fields: readonly string[]): Entry {
  const [, size, mode, , uid, gid, device, mtime, payload, content, digest] = fields
  const [seconds, nanoseconds] = mtime.split('.').map(Number)
  const isLink = Number.parseInt(mode, 8) >> 12 === 10
  const isFile = Number.parseInt(mode, 8) >> 12 === 8
  return {
    mode: Number.parseInt(mode, 8),
    uid: Number(uid),
    gid: Number(gid),
    seconds,
    nanoseconds,
    size: isFile ? Number(size) : 0,
    digest: digest === '-' ? undefined : digest,
    data: isLink ? unescape(payload) : content === '-' ? '' : unescape(content),
    device: Number(device),
    xattrs: fields.slice(11).map(text => {
      const equals = text.indexOf('=')
      return [unescape(text.slice(0, equals)), unescape(text.slice(equals + 1))]
    }),
    linked: false,
  }
}

function unescape(text: string): string {
  const plain: Record<string, string> = { n: '\n', r: '\r', t: '\t', '\\': '\\' }
  return text.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, character: string) =>
    hex === undefined ? plain[character] : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}
