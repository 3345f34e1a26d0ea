import { isStratumError } from '../errors/stratum-error.ts'
import type { ByteReader } from './byte-reader.ts'
import { isZero } from './decompress.ts'
import { inside, malformed, shown } from './errors.ts'
import { type PaxRecords, parsePax } from './pax.ts'
import { paxSparse, readGnuMap, readMapInFront, type SparseMap } from './sparse.ts'
import { BLOCK, decodeHeader, MEMBER, type TarHeader } from './tar-header.ts'
import { memberOf, type TarMember } from './tar-member.ts'

/** A member with its bytes, which have to be taken before the next member is asked for; what is not taken is passed over. */
export interface ReadMember extends TarMember {
  /** Bytes of the file; holes count. */
  readonly size: number
  /** A number stands for so many zeros. */
  readonly pieces: () => AsyncGenerator<Buffer | number>
}

/** Longer extended headers and long names are refused: no name, link or set of xattrs that can be stored needs them. */
const EXTENDED_BYTES_MAX = 1 << 20
/** What has data behind its header; with all others the size is not one (GNU tar and Go read them so too). */
const WITH_DATA: readonly string[] = [MEMBER.regular, MEMBER.contiguous, MEMBER.gnuSparse, MEMBER.gnuDirectory]
const NO_RECORDS: PaxRecords = new Map()

/**
 * Reads a tar archive to its last byte. tar-stream is no help here: it decodes pax records as UTF-8, which destroys the values of
 * xattrs and names that are not UTF-8, gives up without a word at records that are damaged, and knows no sparse files.
 * @throws malformed, with the name of the member and the byte
 */
export async function* readTar(input: ByteReader): AsyncGenerator<ReadMember> {
  const reading: Reading = { input, global: NO_RECORDS, last: undefined, dataEnd: 0 }
  for (;;) {
    const found = await nextMember(reading)
    if (found === undefined) break
    yield found
    await passOver(reading)
  }
  await requireZeros(reading)
}

interface Reading {
  readonly input: ByteReader
  global: PaxRecords
  /** The name of the last member, for messages. */
  last: string | undefined
  /** Where the data of the member end, without what fills up their last block. */
  dataEnd: number
}

/** What stands in front of a member's own header. */
interface Extended {
  pax: PaxRecords
  longName: string | undefined
  longLink: string | undefined
}

async function nextMember(reading: Reading): Promise<ReadMember | undefined> {
  const extended: Extended = { pax: NO_RECORDS, longName: undefined, longLink: undefined }
  for (;;) {
    const at = reading.input.position()
    const block = await reading.input.take(BLOCK)
    if (block.length < BLOCK) throw cutBehind(reading, block.length === 0)
    if (isZero(block)) return undefined
    const header = locate(reading, at, () => decodeHeader(block))
    if (await readExtended(reading, header, extended)) continue
    return finish(reading, header, extended, block)
  }
}

/** Whether the header was one that only says something of the next. */
async function readExtended(reading: Reading, { type, size }: TarHeader, extended: Extended): Promise<boolean> {
  if (type === MEMBER.pax) extended.pax = await readPax(reading, size)
  else if (type === MEMBER.paxGlobal) reading.global = await readPax(reading, size)
  else if (type === MEMBER.gnuLongName) extended.longName = upToNul(await readExtension(reading, size))
  else if (type === MEMBER.gnuLongLink) extended.longLink = upToNul(await readExtension(reading, size))
  else return type === MEMBER.gnuVolume
  return true
}

async function readPax(reading: Reading, size: number): Promise<PaxRecords> {
  const at = reading.input.position()
  const bytes = await readExtension(reading, size)
  return locate(reading, at, () => parsePax(bytes))
}

async function readExtension(reading: Reading, size: number): Promise<Buffer> {
  const behind = reading.last === undefined ? '' : ` behind ${shown(reading.last)}`
  if (size < 0 || size > EXTENDED_BYTES_MAX)
    throw malformed(`the extended header${behind} has ${size} bytes; at most ${EXTENDED_BYTES_MAX} are read`)
  const padded = await reading.input.take(Math.ceil(size / BLOCK) * BLOCK)
  if (padded.length < size) throw cutBehind(reading, false)
  return padded.subarray(0, size)
}

function upToNul(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
}

/** What a pax header says goes before what a header of GNU tar says, and that before the header itself. */
async function finish(reading: Reading, header: TarHeader, extended: Extended, block: Buffer): Promise<ReadMember> {
  const { input, global } = reading
  const own = (key: string): string | undefined => extended.pax.get(key) || global.get(key) || undefined
  const name = own('GNU.sparse.name') ?? own('path') ?? extended.longName ?? header.name
  const linkName = own('linkpath') ?? extended.longLink ?? header.linkName
  reading.last = name
  try {
    const member = memberOf({ ...header, name, linkName }, own, extended.pax)
    const stored = WITH_DATA.includes(header.type) ? storedBytes(header, own('size')) : 0
    reading.dataEnd = input.position() + stored
    const map = await sparseMap(reading, header, block, extended.pax)
    checkMap(map, reading.dataEnd - input.position())
    const size = map?.size ?? stored
    return {
      ...member,
      size,
      pieces: () => readPieces(reading, map ?? { size, pieces: [{ offset: 0, bytes: size }] }),
    }
  } catch (error) {
    throw inside(error, shown(name))
  }
}

function storedBytes(header: TarHeader, pax: string | undefined): number {
  const size = pax === undefined ? header.size : /^[0-9]{1,16}$/.test(pax) ? Number(pax) : Number.NaN
  if (!Number.isSafeInteger(size) || size < 0) throw malformed('its size is no number that can be')
  return size
}

async function sparseMap(
  reading: Reading,
  header: TarHeader,
  block: Buffer,
  pax: PaxRecords,
): Promise<SparseMap | undefined> {
  const { input } = reading
  const take = async (bytes: number): Promise<Buffer> => {
    const taken = await input.take(bytes)
    if (taken.length < bytes) throw malformed('the archive ends in its sparse map: it was cut')
    return taken
  }
  if (header.type === MEMBER.gnuSparse) {
    const start = input.position()
    const map = await readGnuMap(block, take)
    reading.dataEnd += input.position() - start // blocks of the map do not count as data
    return map
  }
  const sparse = header.type === MEMBER.regular ? paxSparse(pax) : undefined
  if (sparse?.map !== 'in front') return sparse?.map
  return (await readMapInFront(sparse.size, take)).map
}

function checkMap(map: SparseMap | undefined, stored: number): void {
  const bytes = map?.pieces.reduce((sum, piece) => sum + piece.bytes, 0) ?? stored
  if (bytes !== stored) throw malformed(`its sparse map speaks of ${bytes} bytes, but ${stored} are stored`)
}

async function* readPieces({ input }: Reading, { size, pieces }: SparseMap): AsyncGenerator<Buffer | number> {
  let at = 0
  for (const { offset, bytes } of pieces) {
    if (offset > at) yield offset - at
    for (let left = bytes; left > 0; ) {
      const piece = await input.some(left)
      if (piece.length === 0) throw malformed('the archive ends in the middle of it: it was cut')
      left -= piece.length
      yield piece
    }
    at = offset + bytes
  }
  if (size > at) yield size - at
}

/** Takes what is left of a member's data and the zeros behind them. */
async function passOver(reading: Reading): Promise<void> {
  const { input, dataEnd } = reading
  for (let left = Math.ceil(dataEnd / BLOCK) * BLOCK - input.position(); left > 0; ) {
    const piece = await input.some(left)
    if (piece.length === 0) throw cutBehind(reading, false)
    left -= piece.length
  }
}

/** Behind the end mark only zeros fill up the tape's last record. A second archive there would be lost, so it is not passed over. */
async function requireZeros({ input }: Reading): Promise<void> {
  for (let piece = await input.some(); piece.length > 0; piece = await input.some()) {
    if (isZero(piece)) continue
    throw malformed(
      `there is something behind the end of the tar archive, before byte ${input.position()}`,
      'Archives that were joined have to be imported one by one',
    )
  }
}

function locate<T>({ last }: Reading, at: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!isStratumError(error)) throw error
    const where = last === undefined ? '' : ` behind ${shown(last)}`
    throw malformed(`the tar header at byte ${at}${where} is damaged: ${error.message}`)
  }
}

function cutBehind({ last }: Reading, atHeader: boolean): Error {
  const where = last === undefined ? 'at its beginning' : atHeader ? `behind ${shown(last)}` : `at ${shown(last)}`
  return malformed(`the archive ends ${where}, without the mark of its end: it was cut`)
}
