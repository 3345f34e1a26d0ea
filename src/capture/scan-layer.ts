import { METACOPY, type Xattr } from '../erofs/xattrs.ts'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { openDirectory, openDirectoryAt, readDirectory, readLinkAt } from '../host/descriptors.ts'
import {
  isDirectoryMode,
  isRegularMode,
  isSymlinkMode,
  type Stat,
  sameState,
  statAt,
  statDescriptor,
} from '../host/stat.ts'
import { xattrsAt, xattrsOfDescriptor } from '../host/xattrs.ts'
import { type Content, INLINE_BYTES_MAX } from '../tree/entry.ts'
import { checkDepth } from '../tree/to-entry.ts'
import type { Layer, LayerNode } from '../tree/layer-changes.ts'
import type { HashCache } from './hash-cache.ts'
import { holdDirectory, type OpenDirectory } from './open-directory.ts'
import type { FileReading } from './read-file.ts'
import type { ReaderPool } from './reader-pool.ts'

/** A name of an upperdir as one scan found it. Names of one inode share one node. */
export interface ScannedNode extends LayerNode {
  stat: Stat
  xattrs: readonly Xattr[]
  content: Content | undefined
  readonly children: Map<string, ScannedNode> | undefined
  /** Its content is that of its stat: it held still while it was read. */
  whole: boolean
  /** Nothing can have been written to it since without its stat showing it: a later scan need not read it again. */
  settled: boolean
}

export interface LayerScan extends Layer {
  readonly root: ScannedNode
  readonly index: ReadonlyMap<string, ScannedNode>
  /** Paths that are not as the scan before found them, or did not hold still while they were read. */
  readonly moved: string[]
}

export interface ScanOptions {
  readonly pool: ReaderPool
  readonly cache: HashCache
  /** ctime of a file that was touched before `syncfs` and the first scan. */
  readonly probe: bigint
  readonly previous: LayerScan | undefined
  /** Take what looks unchanged as it was, even where a look cannot tell: the caller knows that nobody writes. */
  readonly trustStat?: boolean
  /** When to give up, on the clock of `performance.now()`. */
  readonly endAt?: number
}

interface Scan extends ScanOptions {
  /** Files with several names, by inode: upperdir and index share inodes, and so do hard links. */
  readonly linked: Map<bigint, ScannedNode>
  readonly moved: string[]
}

/** One name that is being looked at. */
interface Name {
  readonly parent: OpenDirectory
  readonly name: string
  readonly path: string
  readonly before: ScannedNode | undefined
}

const INDEX = 'index'
const LOOK_AT_CLOCK_EVERY = 32

/**
 * Reads an upperdir and its index while others may be writing through the mount above. With a scan before, only what changed since or
 * was not settled then is read again.
 */
export async function scanLayer(upperdir: string, workdir: string, options: ScanOptions): Promise<LayerScan> {
  const scan: Scan = { ...options, linked: new Map(), moved: [] }
  const root = await scanRoot(scan, upperdir, options.previous?.root)
  const index = await scanRoot(scan, `${workdir}/${INDEX}`, undefined, options.previous?.index)
  await options.pool.drain()
  if (root === undefined) throw new Error(`${upperdir} is missing`)
  return { root, index: index?.children ?? new Map(), moved: scan.moved }
}

async function scanRoot(
  scan: Scan,
  path: string,
  before: ScannedNode | undefined,
  childrenBefore: ReadonlyMap<string, ScannedNode> | undefined = before?.children,
): Promise<ScannedNode | undefined> {
  let fd: number
  try {
    fd = openDirectory(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined // no file with several names was ever written to
    throw error
  }
  if (before !== undefined && !sameState(before.stat, statDescriptor(fd))) scan.moved.push('.')
  return scanDirectory(scan, holdDirectory(fd), childrenBefore, '')
}

async function scanDirectory(
  scan: Scan,
  directory: OpenDirectory,
  before: ReadonlyMap<string, ScannedNode> | undefined,
  path: string,
): Promise<ScannedNode> {
  try {
    await scan.pool.room() // and every directory begins on an empty stack, however deep it lies
    const stat = statDescriptor(directory.fd)
    const children = new Map<string, ScannedNode>()
    let names = 0
    for (const { name } of readDirectory(directory.fd)) {
      if (names++ % LOOK_AT_CLOCK_EVERY === 0) refuseToBeLate(scan)
      const place: Name = { parent: directory, name, path: `${path}${name}`, before: before?.get(name) }
      const found = scanName(scan, place)
      const child = found === 'directory' ? await scanSubdirectory(scan, place) : found
      if (child !== undefined) children.set(name, child)
    }
    for (const name of before?.keys() ?? []) if (!children.has(name)) scan.moved.push(`${path}${name}`)
    return { stat, xattrs: xattrsOfDescriptor(directory.fd), content: undefined, children, whole: true, settled: true }
  } finally {
    directory.release()
  }
}

/** @throws timeout */
function refuseToBeLate({ endAt }: Scan): void {
  if (endAt !== undefined && performance.now() >= endAt) throw new StratumError('timeout', 'the scan takes too long')
}

function scanName(scan: Scan, place: Name): ScannedNode | 'directory' | undefined {
  return unlessGone(scan, place, () => {
    const stat = statAt(place.parent.fd, place.name)
    const same = place.before !== undefined && sameState(place.before.stat, stat)
    if (!same && scan.previous !== undefined) scan.moved.push(place.path)
    if (isDirectoryMode(stat.mode)) return 'directory'
    return scanFile(scan, place, stat, same)
  })
}

/** Anything but a directory. What looks as before is taken as it was, if looking is enough to tell. */
function scanFile(scan: Scan, place: Name, stat: Stat, same: boolean): ScannedNode {
  const { before } = place
  if (same && before !== undefined && (before.settled || (scan.trustStat && before.whole))) return before
  const twin = stat.links > 1 ? scan.linked.get(stat.inode) : undefined
  if (twin !== undefined && sameState(twin.stat, stat)) return twin // else another file has the inode's number meanwhile
  const node = isRegularMode(stat.mode) ? scanRegular(scan, place, stat, same) : scanSpecial(scan, place, stat)
  if (stat.links > 1) scan.linked.set(stat.inode, node)
  return node
}

async function scanSubdirectory(scan: Scan, place: Name): Promise<ScannedNode | undefined> {
  checkDepth(place.path)
  const fd = unlessGone(scan, place, () => openDirectoryAt(place.parent.fd, place.name))
  return fd === undefined ? undefined : scanDirectory(scan, holdDirectory(fd), place.before?.children, `${place.path}/`)
}

/** Passes over a name that is renamed or removed between two calls; the next scan tells what became of it. */
function unlessGone<T>(scan: Scan, { path }: Name, look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL')) throw error
    scan.moved.push(path)
    return undefined
  }
}

/** A symlink, device, whiteout, fifo or socket. */
function scanSpecial({ probe }: Scan, { parent, name }: Name, stat: Stat): ScannedNode {
  const content = isSymlinkMode(stat.mode)
    ? { size: 0, digest: undefined, data: readLinkAt(parent.fd, name) }
    : undefined
  const settled = stat.ctime < probe
  return { stat, xattrs: xattrsAt(parent.fd, name), content, children: undefined, whole: true, settled }
}

function scanRegular(scan: Scan, place: Name, stat: Stat, same: boolean): ScannedNode {
  const xattrs = xattrsAt(place.parent.fd, place.name)
  const settled = stat.ctime < scan.probe
  const node: ScannedNode = { stat, xattrs, content: undefined, children: undefined, whole: true, settled }
  // A file with metacopy has the data of the base: what lies here are zeros.
  if (!xattrs.some(([key]) => key === METACOPY) && !takeFromCache(scan, node)) readContent(scan, place, node, same)
  return node
}

function takeFromCache({ cache, pool }: Scan, node: ScannedNode): boolean {
  const known = node.stat.size > INLINE_BYTES_MAX ? cache.find(node.stat) : undefined
  if (known === undefined || !pool.objects.has(known.digest, node.stat.size)) return false
  node.content = { size: node.stat.size, digest: known.digest, data: '' }
  return true
}

function readContent(scan: Scan, { parent, name, path, before }: Name, node: ScannedNode, same: boolean): void {
  parent.hold()
  scan.pool.read(parent.fd, name, node.stat.size, reading => {
    parent.release()
    const moved = reading === undefined || !reading.stable || (same && !sameContent(before?.content, reading.content))
    if (moved) scan.moved.push(path)
    if (reading === undefined) Object.assign(node, { whole: false, settled: false })
    else takeReading(scan, node, reading)
  })
}

function takeReading({ probe }: Scan, node: ScannedNode, { stat, xattrs, content, stable, quiet }: FileReading): void {
  node.stat = stat
  node.xattrs = xattrs
  node.content = content
  node.whole = stable
  node.settled = stable && quiet && stat.ctime < probe
}

function sameContent(a: Content | undefined, b: Content): boolean {
  return a !== undefined && a.size === b.size && a.digest === b.digest && a.data === b.data
}
