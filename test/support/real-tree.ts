import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { libc } from '../../src/host/libc.ts'
import { setModificationTime } from '../../src/host/files.ts'
import { setXattr } from '../../src/host/xattrs.ts'
import { nodePath } from '../../src/names/text.ts'
import type { Random } from './random.ts'

/** Random directories on disk, of everything that one can hold. Paths are latin1, a character for each byte. */
export interface RealTreeOptions {
  readonly names: number
  /** The mtimes that the file system can keep, in seconds. */
  readonly oldest: number
  readonly newest: number
}

const TYPE = { fifo: 0o010000, character: 0o020000, block: 0o060000, socket: 0o140000 } as const
const SIZES = [0, 1, 2, 63, 64, 65, 66, 1000, 4095, 4096, 4097, 8192, 70_000]
const HOLES = [1, 4096, 65_536, 1_000_000, 5_000_001]

const mknod = libc.func('int mknod(void *path, unsigned int mode, uint64_t device)')

interface Making extends RealTreeOptions {
  readonly random: Random
  readonly directories: string[]
  /** Everything that can have another name. */
  readonly files: string[]
}

/** Fills an empty directory. */
export function fillDirectory(random: Random, root: string, options: RealTreeOptions): void {
  const making: Making = { ...options, random, directories: [root], files: [] }
  for (let i = 0; i < options.names; i++) {
    const path = `${random.pick(making.directories)}/${randomName(random)}`
    if (path.length > 3500 || fs.lstatSync(nodePath(path), { throwIfNoEntry: false }) !== undefined) continue
    makeOne(making, path)
  }
  // A directory's mtime is moved by what is made in it, so directories come last.
  for (const path of making.directories) dress(making, path, 'directory')
}

function makeOne(making: Making, path: string): void {
  const { random, files, directories } = making
  const kind = random.below(100)
  if (kind < 20) {
    fs.mkdirSync(nodePath(path))
    directories.push(path)
    return
  }
  if (kind < 30 && files.length > 0) {
    fs.linkSync(nodePath(random.pick(files)), nodePath(path))
    return
  }
  files.push(path)
  if (kind < 42) {
    fs.symlinkSync(nodePath(randomTarget(random)), nodePath(path))
    dress(making, path, 'symlink')
  } else if (kind < 55) {
    makeNode(random, path)
    dress(making, path, 'special')
  } else {
    makeFile(random, path)
    dress(making, path, 'file')
  }
}

function makeNode(random: Random, path: string): void {
  const type = random.pick(Object.values(TYPE))
  const device =
    type === TYPE.character || type === TYPE.block ? random.pick([0x103, 0xfffff, 0x12345678, 0xfff00fff]) : 0
  if (mknod(Buffer.from(`${path}\0`, 'latin1'), type | 0o600, device) !== 0) throw new Error(`mknod ${path}`)
}

function makeFile(random: Random, path: string): void {
  const file = fs.openSync(nodePath(path), 'wx')
  try {
    const size = random.pick(SIZES)
    if (size > 0) fs.writeSync(file, Buffer.from(random.bytes(Math.min(size, 5000)), 'latin1'))
    if (size > 5000) fs.writeSync(file, Buffer.alloc(size - 5000, 'repeat'))
    if (random.chance(0.15)) {
      const hole = random.pick(HOLES)
      if (random.chance(0.5)) fs.writeSync(file, Buffer.from('behind the hole'), 0, 15, size + hole)
      else fs.ftruncateSync(file, size + hole)
    }
  } finally {
    fs.closeSync(file)
  }
}

/** Owner, mode, xattrs and mtime, in the order in which they do not undo each other. */
function dress(
  { random, oldest, newest }: Making,
  path: string,
  kind: 'directory' | 'file' | 'symlink' | 'special',
): void {
  const [uid, gid] = random.pick([
    [0, 0],
    [1000, 1000],
    [70_000, 1],
    [65_535, 65_536],
    [4_294_967_293, 2],
  ])
  fs.lchownSync(nodePath(path), uid, gid)
  if (kind !== 'symlink')
    fs.chmodSync(nodePath(path), random.pick([0o755, 0o644, 0o4755, 0o2711, 0o1777, 0o000, 0o600]))
  for (const [name, value] of randomXattrs(random, kind)) setXattr(path, name, value)
  const span = newest - oldest
  const seconds = random.pick([
    0,
    1_700_000_000,
    1_700_000_000,
    oldest,
    newest,
    oldest + Math.floor((random.below(2 ** 31) / 2 ** 31) * span),
  ])
  setModificationTime(path, seconds, seconds === newest ? 0 : random.pick([0, 1, 999_999_999, random.below(10 ** 9)]))
}

function randomXattrs(random: Random, kind: 'directory' | 'file' | 'symlink' | 'special'): Map<string, string> {
  const xattrs = new Map<string, string>()
  const value = (): string => random.pick(['', 'shared', '\0\xff=\n', random.bytes(random.pick([1, 30, 200]))])
  const hasUser = kind === 'directory' || kind === 'file'
  for (let i = random.pick([0, 0, 1, 2, 5]); i > 0; i--) {
    const prefixes = hasUser ? ['user.', 'trusted.', 'security.test.'] : ['trusted.', 'security.test.']
    const name = random.pick(['a', 'b', 'overlay.opaque', 'overlay.overlay.x', 'n\xe4m\xff', 'k'.repeat(60)])
    xattrs.set(random.pick(prefixes) + name, value())
  }
  if (hasUser && random.chance(0.15)) xattrs.set('system.posix_acl_access', randomAcl(random))
  if (kind === 'directory' && random.chance(0.15)) xattrs.set('system.posix_acl_default', randomAcl(random))
  if (kind === 'file' && random.chance(0.1)) xattrs.set('security.capability', capability(random))
  return xattrs
}

/** acl(5) as the kernel stores it: version, then tag, permissions and id of each entry. */
function randomAcl(random: Random): string {
  const none = 0xffffffff
  const rights = (): number => random.below(8)
  const entries = [
    [0x01, rights(), none],
    [0x02, rights(), random.pick([1, 1000, 70_000])],
    [0x04, rights(), none],
    [0x08, rights(), random.pick([5, 65_536])],
    [0x10, rights(), none],
    [0x20, rights(), none],
  ]
  const bytes = Buffer.alloc(4 + entries.length * 8)
  bytes.writeUInt32LE(2)
  entries.forEach(([tag, permissions, id], i) => {
    bytes.writeUInt16LE(tag, 4 + i * 8)
    bytes.writeUInt16LE(permissions, 6 + i * 8)
    bytes.writeUInt32LE(id, 8 + i * 8)
  })
  return bytes.toString('latin1')
}

/** struct vfs_cap_data, revision 2. */
function capability(random: Random): string {
  const bytes = Buffer.alloc(20)
  bytes.writeUInt32LE(0x02000001)
  bytes.writeUInt32LE(random.pick([0x400, 0x2000]), 4)
  return bytes.toString('latin1')
}

function randomName(random: Random): string {
  const length = random.pick([1, 2, 3, 8, 8, 20, 100, 255])
  const letters = random.chance(0.3) ? undefined : 'abcdef0123456789.-'.split('')
  for (;;) {
    let name = ''
    for (let i = 0; i < length; i++)
      name += letters === undefined ? String.fromCharCode(1 + random.below(255)) : random.pick(letters)
    name = name.replaceAll('/', '_')
    if (name !== '.' && name !== '..') return name
  }
}

function randomTarget(random: Random): string {
  const length = random.pick([1, 10, 59, 60, 200, 1000, 4000, 4095])
  return random.chance(0.2) ? '-' : random.bytes(length).replaceAll('\0', '/')
}

/** An empty directory that is a file system of its own, in this test's mount namespace. */
export function mountTmpfs(mountpoint: string): string {
  fs.mkdirSync(mountpoint)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2g,mode=0755', 'source', mountpoint])
  return mountpoint
}
