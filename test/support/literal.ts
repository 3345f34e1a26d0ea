import { type Change, childChange, type Entry } from '../../src/tree/entry.ts'

/** Trees written down in a test: `literal({ '': dir(), a: file('hello'), d: dir(), 'd/b': link('../a') })`. */
const COMMON: Entry = {
  mode: 0,
  uid: 0,
  gid: 0,
  seconds: 1_000_000_000,
  nanoseconds: 5,
  size: 0,
  digest: undefined,
  data: '',
  device: 0,
  xattrs: [],
  linked: false,
}

export type Attributes = Partial<Pick<Entry, 'mode' | 'uid' | 'gid' | 'seconds' | 'nanoseconds' | 'xattrs' | 'linked'>>

export function dir(attributes: Attributes = {}): Entry {
  return { ...COMMON, ...attributes, mode: 0o040000 | (attributes.mode ?? 0o755) }
}

/** A small file: its bytes are in the image. */
export function file(data: string, attributes: Attributes = {}): Entry {
  return { ...COMMON, ...attributes, mode: 0o100000 | (attributes.mode ?? 0o644), data, size: data.length }
}

/** A file whose bytes are in an object. */
export function objectFile(digestDigit: string, size: number, attributes: Attributes = {}): Entry {
  return { ...file('', attributes), digest: digestDigit.repeat(64), size }
}

export function link(target: string, attributes: Attributes = {}): Entry {
  return { ...COMMON, ...attributes, mode: 0o120777, data: target }
}

export function special(mode: number, device = 0, attributes: Attributes = {}): Entry {
  return { ...COMMON, ...attributes, mode, device }
}

/** The same entry at two paths with `linked: true` is a hard link. The root is `''`. */
export function literal(entries: Readonly<Record<string, Entry>>): Change {
  const root: Change = {}
  for (const [path, entry] of Object.entries(entries)) {
    let at = root
    if (path !== '') for (const name of path.split('/')) at = childChange(at, name)
    at.entry = entry
  }
  return root
}
