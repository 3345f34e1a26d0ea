import { malformed } from './errors.ts'
import { BLOCK, readNumberAt } from './tar-header.ts'
import { type PaxRecords, SPARSE_MAP } from './pax.ts'

/** GNU tar manual, "Storing Sparse Files": a file as the pieces of it that are stored; between them are zeros. */
export interface SparseMap {
  /** Bytes of the whole file. */
  readonly size: number
  readonly pieces: readonly SparsePiece[]
}

export interface SparsePiece {
  readonly offset: number
  readonly bytes: number
}

const PIECES_MAX = 1_000_000

/** Where the map of a sparse member of a pax archive is: in its header, or in front of its data (format 1.0). */
export function paxSparse(pax: PaxRecords): { size: number; map: SparseMap | 'in front' } | undefined {
  const size = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size')
  if (size === undefined) return undefined
  const bytes = parseCount(size)
  if (pax.get('GNU.sparse.major') === '1') return { size: bytes, map: 'in front' }
  const list = pax.get(SPARSE_MAP) ?? ''
  const numbers = list === '' ? [] : list.split(',', 2 * PIECES_MAX + 1)
  return { size: bytes, map: createMap(bytes, numbers.map(parseCount)) }
}

/** Reads the map in front of a member's data; `take` gives the next so many bytes of them. Returns it and how many bytes it took. */
export async function readMapInFront(
  size: number,
  take: (bytes: number) => Promise<Buffer>,
): Promise<{ map: SparseMap; bytes: number }> {
  let text = ''
  let blocks = 0
  let at = 0
  const next = async (): Promise<number> => {
    let end = text.indexOf('\n', at)
    for (; end < 0; end = text.indexOf('\n', at)) {
      text = text.slice(at) + (await take(BLOCK)).toString('latin1')
      at = 0
      blocks++
      if (text.length > 2 * BLOCK) throw malformed('its sparse map is damaged')
    }
    const number = parseCount(text.slice(at, end))
    at = end + 1
    return number
  }
  const count = await next()
  if (count > PIECES_MAX) throw malformed(`its sparse map has ${count} pieces; at most ${PIECES_MAX} are read`)
  const numbers: number[] = []
  for (let i = 0; i < 2 * count; i++) numbers.push(await next())
  return { map: createMap(size, numbers), bytes: blocks * BLOCK }
}

const GNU_PIECES_AT = 386
const GNU_PIECES = 4
const GNU_MORE_AT = 482
const GNU_SIZE_AT = 483
const EXTENSION_PIECES = 21
const EXTENSION_MORE_AT = 504
const FIELD = 12

/** Reads the map of GNU tar's own format: in the header, and in blocks behind it. */
export async function readGnuMap(header: Buffer, take: (bytes: number) => Promise<Buffer>): Promise<SparseMap> {
  const numbers: number[] = []
  const add = (block: Buffer, at: number, count: number): void => {
    for (let i = 0; i < count && block[at + i * 2 * FIELD] !== 0; i++)
      numbers.push(readNumberAt(block, at + i * 2 * FIELD, FIELD), readNumberAt(block, at + (2 * i + 1) * FIELD, FIELD))
  }
  add(header, GNU_PIECES_AT, GNU_PIECES)
  for (let more = header[GNU_MORE_AT] !== 0; more; ) {
    const block = await take(BLOCK)
    add(block, 0, EXTENSION_PIECES)
    more = block[EXTENSION_MORE_AT] !== 0
    if (numbers.length > 2 * PIECES_MAX) throw malformed(`its sparse map has more than ${PIECES_MAX} pieces`)
  }
  return createMap(readNumberAt(header, GNU_SIZE_AT, FIELD), numbers)
}

/** @throws malformed unless the pieces lie one behind the other inside the file */
function createMap(size: number, numbers: readonly number[]): SparseMap {
  const pieces: SparsePiece[] = []
  let end = 0
  if (numbers.length % 2 !== 0 || numbers.length > 2 * PIECES_MAX) throw malformed('its sparse map is damaged')
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset, bytes] = [numbers[i], numbers[i + 1]]
    if (!(offset >= end && bytes >= 0 && offset + bytes <= size)) throw malformed('its sparse map is damaged')
    if (bytes > 0) pieces.push({ offset, bytes })
    end = offset + bytes
  }
  if (!Number.isSafeInteger(size) || size < 0) throw malformed('its sparse map is damaged')
  return { size, pieces }
}

function parseCount(text: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw malformed('its sparse map is damaged')
  return value
}
