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
import type { Layer, LayerNode } from '../tree/layer-changes.ts'
import { checkDepth } from '../tree/to-entry.ts'
import type { HashCache } from './hash-cache.ts'
import { type Findings, lookAgain } from './look-again.ts'
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
  /** Nothing can have been written to it since without its stat showing it: a later scan need not read it again, or list it. */
  settled: boolean
}

export interface LayerScan extends Layer {
  readonly root: ScannedNode
  readonly index: ReadonlyMap<string, ScannedNode>
  /** The index itself; undefined where there is none. */
  readonly indexRoot: ScannedNode | undefined
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
  /** Names that were looked at. */
  looks: number
}

/** A directory that is being scanned. */
interface Place {
  readonly directory: OpenDirectory
  /** Of what is inside. */
  readonly path: string
  readonly before: ScannedNode | undefined
  readonly findings: Findings<ScannedNode>
}

/** One name that is being looked at. */
interface Name {
  readonly parent: OpenDirectory
  readonly name: string
  readonly path: string
  readonly before: ScannedNode | undefined
}

const INDEX = 'index'
const NOTHING_KNOWN: Findings<ScannedNode> = new Map()
const LOOK_AT_CLOCK_EVERY = 32

/**
 * Reads an upperdir and its index while others may be writing through the mount above. With a scan before, only what changed since or
 * was not settled then is read again.
 */
export async function scanLayer(upperdir: string, workdir: string, options: ScanOptions): Promise<LayerScan> {
  const scan: Scan = { ...options, linked: new Map(), moved: [], looks: 0 }
  const root = await scanRoot(scan, upperdir, options.previous?.root)
  const indexRoot = await scanRoot(scan, `${workdir}/${INDEX}`, options.previous?.indexRoot)
  await options.pool.drain()
  if (root === undefined) throw new Error(`${upperdir} is missing`)
  return { root, index: indexRoot?.children ?? new Map(), indexRoot, moved: scan.moved }
}

/** Undefined where it is missing. */
async function scanRoot(scan: Scan, path: string, before: ScannedNode | undefined): Promise<ScannedNode | undefined> {
  let fd: number
  try {
    fd = openDirectory(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined // no file with several names was ever written to
    throw error
  }
  if (before !== undefined && before === scan.previous?.root && !sameState(before.stat, statDescriptor(fd)))
    scan.moved.push('.')
  const directory = holdDirectory(fd)
  try {
    const findings = before === undefined ? NOTHING_KNOWN : findChanges(scan, fd, before)
    if (before !== undefined && !findings.has(before)) return before
    return await scanDirectory(scan, { directory, path: '', before, findings })
  } finally {
    directory.release()
  }
}

function findChanges(scan: Scan, directory: number, before: ScannedNode): Findings<ScannedNode> {
  return lookAgain(directory, before, {
    trust: node => isTrusted(scan, node),
    beforeEach: () => refuseToBeLate(scan),
  })
}

/** One that was not there before, or in which something has to be looked at more closely. */
async function scanDirectory(scan: Scan, place: Place): Promise<ScannedNode> {
  const { directory, path, before, findings } = place
  const looked = before && findings.get(before)
  await scan.pool.room() // and every directory begins on an empty stack, however deep it lies
  const known = looked?.namesHold ? before : undefined
  const stat = known?.stat ?? statDescriptor(directory.fd)
  const children = new Map<string, ScannedNode>()
  for (const name of known?.children?.keys() ?? listNames(directory.fd)) {
    refuseToBeLate(scan)
    const child = looked?.open.has(name) === false ? before?.children?.get(name) : undefined
    const scanned = child ?? scanName(scan, place, name)
    const found = scanned instanceof Promise ? await scanned : scanned
    if (found !== undefined) children.set(name, found)
  }
  for (const name of before?.children?.keys() ?? []) if (!children.has(name)) scan.moved.push(`${path}${name}`)
  const xattrs = known?.xattrs ?? xattrsOfDescriptor(directory.fd)
  return { stat, xattrs, content: undefined, children, whole: true, settled: stat.ctime < scan.probe }
}

function listNames(directory: number): string[] {
  return readDirectory(directory).map(({ name }) => name)
}

/** To be called for every name. @throws timeout */
function refuseToBeLate(scan: Scan): void {
  if (scan.endAt === undefined || scan.looks++ % LOOK_AT_CLOCK_EVERY !== 0) return
  if (performance.now() >= scan.endAt) throw new StratumError('timeout', 'the scan takes too long')
}

/** Only for a directory there is something to wait for. */
function scanName(scan: Scan, place: Place, name: string): ScannedNode | undefined | Promise<ScannedNode | undefined> {
  const before = place.before?.children?.get(name)
  const at: Name = { parent: place.directory, name, path: `${place.path}${name}`, before }
  return unlessGone(scan, at, () => {
    const stat = statAt(place.directory.fd, name)
    const same = before !== undefined && sameState(before.stat, stat)
    if (!same && scan.previous !== undefined) scan.moved.push(at.path)
    if (!isDirectoryMode(stat.mode)) return scanFile(scan, at, stat, same)
    // Of a directory that is not the one that was looked at, nothing is known.
    return scanSubdirectory(scan, at, same ? place.findings : NOTHING_KNOWN)
  })
}

/** Anything but a directory. What looks as before is taken as it was, if looking is enough to tell. */
function scanFile(scan: Scan, place: Name, stat: Stat, same: boolean): ScannedNode {
  const { before } = place
  if (same && before !== undefined && isTrusted(scan, before)) return before
  const twin = stat.links > 1 ? scan.linked.get(stat.inode) : undefined
  if (twin !== undefined && sameState(twin.stat, stat)) return twin // else another file has the inode's number meanwhile
  const node = isRegularMode(stat.mode) ? scanRegular(scan, place, stat, same) : scanSpecial(scan, place, stat)
  if (stat.links > 1) scan.linked.set(stat.inode, node)
  return node
}

async function scanSubdirectory(
  scan: Scan,
  place: Name,
  findings: Findings<ScannedNode>,
): Promise<ScannedNode | undefined> {
  const { parent, name, path, before } = place
  checkDepth(path)
  const fd = unlessGone(scan, place, () => openDirectoryAt(parent.fd, name))
  if (fd === undefined) return undefined
  const directory = holdDirectory(fd)
  try {
    return await scanDirectory(scan, { directory, path: `${path}/`, before, findings })
  } finally {
    directory.release()
  }
}

/** Whether a file is as it was if it looks so. */
function isTrusted({ trustStat }: Scan, { settled, whole }: ScannedNode): boolean {
  return settled || (trustStat === true && whole)
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
