import fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { Image } from '../erofs/arena.ts'
import { TYPE } from '../erofs/format.ts'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { createVerityHasher } from '../hashes/verity.ts'
import { nodePath, toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Entry } from '../tree/entry.ts'
import { formatPax } from './pax.ts'
import { BLOCK, encodeHeader, MEMBER, numberMax, type TarHeader } from './tar-header.ts'
import { xattrKey } from './tar-xattrs.ts'
import { walkImage, type WalkedName } from './tree-walk.ts'

/** What is written, and what could not be. */
export interface TarWriting {
  readonly store: Store
  readonly image: Image
  readonly signal: AbortSignal | undefined
  readonly onFile: ((bytes: number) => void) | undefined
  /** Sockets, which tar has no type for. */
  readonly leftOut: string[]
}

const PIECE_BYTES = 1 << 20
/** Small pieces are collected up to so many bytes. */
const BATCH_BYTES = 1 << 18
const END_BYTES = 2 * BLOCK
/** Archives end on whole records, as GNU tar writes them. */
const RECORD_BYTES = 20 * BLOCK

/**
 * A tree as a pax archive: one tree gives one sequence of bytes. Objects are checked while they are read, because an archive may be all
 * that is left one day. @throws integrity where an object is missing or damaged
 */
export async function* tarBytes(writing: TarWriting): AsyncGenerator<Buffer> {
  let batch: Buffer[] = []
  let batched = 0
  let written = 0
  const flush = (): Buffer => {
    const bytes = batch.length === 1 ? batch[0] : Buffer.concat(batch)
    written += bytes.length
    batch = []
    batched = 0
    return bytes
  }
  for (const piece of tarPieces(writing)) {
    batch.push(piece)
    batched += piece.length
    if (batched < BATCH_BYTES) continue
    yield flush()
    await setImmediate() // files are read at once: signals get their turn here
    writing.signal?.throwIfAborted()
  }
  const end = written + batched + END_BYTES
  batch.push(Buffer.alloc(END_BYTES + Math.ceil(end / RECORD_BYTES) * RECORD_BYTES - end))
  yield flush()
}

function* tarPieces(writing: TarWriting): Generator<Buffer> {
  for (const name of walkImage(writing.image)) {
    const { entry, path, primary } = name
    const type = entry.mode >> 12
    if (type === TYPE.socket) {
      writing.leftOut.push(path)
      continue
    }
    yield* headerBlocks(name)
    if (type === TYPE.regular && primary === undefined) yield* contentBlocks(writing.store, entry, path)
    if (type !== TYPE.directory) writing.onFile?.(primary === undefined ? entry.size : 0)
  }
}

const TYPES: Readonly<Record<number, string>> = {
  [TYPE.regular]: MEMBER.regular,
  [TYPE.symlink]: MEMBER.symlink,
  [TYPE.character]: MEMBER.character,
  [TYPE.block]: MEMBER.block,
  [TYPE.directory]: MEMBER.directory,
  [TYPE.fifo]: MEMBER.fifo,
}

/** The blocks in front of a member's data: its header, and before that a pax header for what does not fit into it. */
function* headerBlocks({ path, entry, primary }: WalkedName): Generator<Buffer> {
  const type = entry.mode >> 12
  const name = path === '' ? './' : type === TYPE.directory ? `${path}/` : path
  const isDevice = type === TYPE.character || type === TYPE.block
  const header: TarHeader = {
    name,
    mode: entry.mode & 0o7777,
    uid: entry.uid,
    gid: entry.gid,
    size: primary === undefined ? entry.size : 0,
    seconds: entry.seconds,
    type: primary === undefined ? TYPES[type] : MEMBER.link,
    linkName: primary ?? (type === TYPE.symlink ? entry.data : ''),
    major: isDevice ? (entry.device >>> 8) & 0xfff : 0,
    minor: isDevice ? (entry.device & 0xff) | ((entry.device >>> 12) & 0xfff00) : 0,
  }
  const pax = formatPax(paxRecords(header, entry, primary !== undefined))
  if (pax !== '') {
    const size = pax.length
    yield encodeHeader({
      ...header,
      name: 'PaxHeaders/x',
      mode: 0o644,
      size,
      type: MEMBER.pax,
      linkName: '',
      major: 0,
      minor: 0,
    })
    yield padded(Buffer.from(pax, 'latin1'))
  }
  yield encodeHeader({ ...header, name: plainName(name), linkName: plainName(header.linkName) })
}

const NAME_BYTES_MAX = 100
const NANOSECOND_DIGITS = 9

/** What a header cannot hold, in a fixed order. */
function paxRecords(header: TarHeader, entry: Entry, isLink: boolean): Map<string, string> {
  const records = new Map<string, string>()
  const { name, linkName, uid, gid, size } = header
  if (!isUtf8(name) || !isUtf8(linkName)) records.set('hdrcharset', 'BINARY')
  if (plainName(name) !== name) records.set('path', name)
  if (plainName(linkName) !== linkName) records.set('linkpath', linkName)
  if (size > numberMax('size')) records.set('size', String(size))
  if (uid > numberMax('uid')) records.set('uid', String(uid))
  if (gid > numberMax('gid')) records.set('gid', String(gid))
  if (entry.nanoseconds !== 0 || entry.seconds < 0 || entry.seconds > numberMax('seconds'))
    records.set('mtime', formatTime(entry))
  if (!isLink) for (const [key, value] of [...entry.xattrs].sort(byName)) records.set(xattrKey(key), value)
  return records
}

/** The name as it stands in a header: one that is too long or not ASCII is only hinted at there. */
function plainName(name: string): string {
  return name.length <= NAME_BYTES_MAX && !/[\x80-\xff]/.test(name)
    ? name
    : name.replace(/[\x80-\xff]/g, '_').slice(0, NAME_BYTES_MAX)
}

function isUtf8(bytes: string): boolean {
  return (
    !/[\x80-\xff]/.test(bytes) ||
    Buffer.from(Buffer.from(bytes, 'latin1').toString('utf8')).toString('latin1') === bytes
  )
}

/** Half a second before 1970 is -0.5: the seconds count up from below, tar's sign stands before the whole number. */
function formatTime({ seconds, nanoseconds }: Entry): string {
  const isNegative = seconds < 0
  const [whole, fraction] =
    isNegative && nanoseconds > 0 ? [-(seconds + 1), 1e9 - nanoseconds] : [Math.abs(seconds), nanoseconds]
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(NANOSECOND_DIGITS, '0').replace(/0+$/, '')}`
  return `${isNegative ? '-' : ''}${whole}${digits}`
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1
}

function* contentBlocks(store: Store, entry: Entry, path: string): Generator<Buffer> {
  if (entry.digest === undefined) {
    if (entry.size > 0) yield padded(Buffer.from(entry.data, 'latin1'))
    return
  }
  const file = openObject(store, entry.digest, path)
  const hasher = createVerityHasher()
  try {
    const { size } = fs.fstatSync(file)
    if (size !== entry.size) throw damaged(path, `its object has ${size} bytes instead of ${entry.size}`)
    for (let done = 0; done < size; ) {
      const piece = readPiece(file, done, Math.min(PIECE_BYTES, size - done))
      if (piece.length === 0) throw damaged(path, 'its object was cut while it was read')
      hasher.update(piece)
      done += piece.length
      yield piece
    }
    if (hasher.digest() !== entry.digest) throw damaged(path, 'its object holds other bytes than it should')
    yield padding(size)
  } finally {
    fs.closeSync(file)
  }
}

function openObject(store: Store, digest: string, path: string): number {
  try {
    return fs.openSync(nodePath(paths.object(store, digest)), 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw damaged(path, 'its object is not in the store')
    throw error
  }
}

/** Whole blocks of a file, up to its end. */
function readPiece(file: number, position: number, bytes: number): Buffer {
  const piece = Buffer.allocUnsafe(bytes)
  let length = 0
  while (length < bytes) {
    const read = fs.readSync(file, piece, length, bytes - length, position + length)
    if (read === 0) break
    length += read
  }
  return piece.subarray(0, length)
}

function damaged(path: string, what: string): StratumError {
  return new StratumError('integrity', `${toUser(path)}: ${what}`, { hint: 'stratum fsck says what else is damaged' })
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, padding(bytes.length)])
}

function padding(bytes: number): Buffer {
  return Buffer.alloc(Math.ceil(bytes / BLOCK) * BLOCK - bytes)
}
