import { createHash } from 'node:crypto'
import type { Xattr } from '../../src/erofs/xattrs.ts'
import { type Change, childChange, type Entry } from '../../src/tree/entry.ts'
import type { Random } from './random.ts'

/** Random trees of everything that a directory can hold; most of the sizes and names lie where the formats have an edge. */
export function randomTree(random: Random, names: number): Change {
  const context = createContext(random)
  const root: Change = { entry: randomDirectory(context) }
  const directories: Change[] = [root]
  const files: Entry[] = []
  for (let i = 0; i < names; i++) {
    const parent = random.pick(directories)
    const name = randomName(random)
    if (parent.children?.has(name)) continue
    const entry = random.chance(0.25)
      ? randomDirectory(context)
      : random.chance(0.1) && files.length > 0
        ? random.pick(files)
        : randomLeaf(context)
    childChange(parent, name).entry = entry
    if (isDirectoryEntry(entry)) directories.push(childChange(parent, name))
    else if (entry.linked) files.push(entry)
  }
  return root
}

/** Random changes of a tree: entries of all kinds at random places, removals, changed attributes. */
export function randomChanges(random: Random, tree: Change, count: number): Change {
  const context = createContext(random)
  const changes: Change = random.chance(0.3) ? { entry: randomDirectory(context) } : {}
  for (let i = 0; i < count; i++) {
    let at = changes
    let before: Change | undefined = tree
    for (let depth = random.below(4); depth > 0; depth--) {
      const below: [string, Change][] = [...(before?.children ?? [])].filter(
        ([, child]) => child.entry != null && isDirectoryEntry(child.entry),
      )
      if (below.length === 0) break
      const [name, next] = random.pick(below)
      if (at.children?.get(name)?.entry !== undefined) break
      at = childChange(at, name)
      before = next
    }
    const existing = [...(before?.children?.keys() ?? [])]
    const name = existing.length > 0 && random.chance(0.7) ? random.pick(existing) : randomName(random)
    if (at.children?.has(name)) continue
    const removal = before?.children?.has(name) && random.chance(0.3)
    childChange(at, name).entry = removal ? null : random.chance(0.2) ? randomDirectory(context) : randomLeaf(context)
  }
  return changes
}

/** The tree that `tree` becomes by `changes`, computed plainly; entries keep their identity. */
export function applyChanges(tree: Change, changes: Change): Change {
  const result: Change = { entry: changes.entry ?? tree.entry ?? null, children: new Map(tree.children) }
  for (const [name, change] of changes.children ?? []) {
    const before = tree.children?.get(name)
    if (change.entry === null) result.children?.delete(name)
    else if (change.entry !== undefined && !isDirectoryEntry(change.entry))
      result.children?.set(name, { entry: change.entry })
    else if (before?.entry && isDirectoryEntry(before.entry)) result.children?.set(name, applyChanges(before, change))
    else result.children?.set(name, applyChanges({ entry: change.entry ?? null }, change))
  }
  return result
}

export function isDirectoryEntry(entry: Entry): boolean {
  return entry.mode >> 12 === 4
}

interface Context {
  random: Random
  mtimes: (readonly [number, number])[]
}

const XATTR_NAMES = [
  'user.a',
  'user.bb',
  'trusted.foo',
  'security.selinux',
  'security.capability',
  'trusted.overlay.opaque',
  'trusted.overlay.metacopy',
  'user.overlay.x',
  'system.posix_acl_access',
  'system.posix_acl_default',
  'trusted.overlay.overlay.y',
  `user.${'k'.repeat(30)}`,
]
const SIZES = [65, 4096, 4097, 8193, 10 ** 6, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 40, 2 ** 45 + 3]

function createContext(random: Random): Context {
  return {
    random,
    mtimes: Array.from({ length: 3 }, () => [random.below(2 ** 33) - 5, random.below(10 ** 9)] as const),
  }
}

function randomName(random: Random): string {
  const length = random.pick([1, 2, 3, 8, 40, 120, 255])
  const letters = random.chance(0.3) ? undefined : 'abcdef0123456789.-'.split('')
  for (;;) {
    let name = ''
    for (let i = 0; i < length; i++)
      name += letters === undefined ? String.fromCharCode(1 + random.below(255)) : random.pick(letters)
    name = name.replaceAll('/', '_')
    if (name !== '.' && name !== '..') return name
  }
}

function attributes({ random, mtimes }: Context): Pick<Entry, 'uid' | 'gid' | 'seconds' | 'nanoseconds' | 'xattrs'> {
  const [uid, gid] = random.pick([
    [0, 0],
    [1000, 1000],
    [70000, 1],
    [65535, 65536],
  ])
  const [seconds, nanoseconds] = random.pick(mtimes)
  const xattrs = new Map<string, string>()
  for (let i = random.pick([0, 0, 1, 2, 3]); i > 0; i--) {
    const name = random.pick(XATTR_NAMES)
    // composefs-info 1.0.8 does not print an ACL without bytes, which no system call makes either
    const shortest = name.startsWith('system.') ? 1 : 0
    const value = random.chance(0.5)
      ? random.bytes(Math.max(shortest, random.pick([0, 1, 4, 30, 200])))
      : random.pick(['shared', 'x'.repeat(100)])
    xattrs.set(name, value)
  }
  return { uid, gid, seconds, nanoseconds, xattrs: [...xattrs] as Xattr[] }
}

function randomDirectory(context: Context): Entry {
  const mode = 0o040000 | context.random.pick([0o755, 0o1777, 0o700])
  return { mode, ...attributes(context), size: 0, digest: undefined, data: '', device: 0, linked: false }
}

function randomLeaf(context: Context): Entry {
  const { random } = context
  const common = { ...attributes(context), size: 0, digest: undefined, data: '', device: 0, linked: random.chance(0.3) }
  const kind = random.below(100)
  if (kind < 15)
    return { ...common, mode: 0o120777, data: 't'.repeat(random.pick([1, 20, 200, 1000, 3900, 4000, 4090])) }
  if (kind < 20)
    return { ...common, mode: random.pick([0o020644, 0o060600]), device: random.pick([259, 66309, 0xfff00fff]) }
  if (kind < 24) return { ...common, mode: 0o010644 }
  if (kind < 28) return { ...common, mode: 0o140644 }
  if (kind < 50) {
    const data = random.bytes(random.pick([0, 1, 10, 63, 64]))
    return { ...common, mode: 0o100644, data, size: data.length }
  }
  const digest = createHash('sha256')
    .update(String(random.below(2 ** 31)))
    .digest('hex')
  return { ...common, mode: random.pick([0o100644, 0o104755]), size: random.pick(SIZES), digest }
}
