import { malformed } from './errors.ts'

/**
 * Records of pax extended headers (POSIX.1-2024, pax, "pax Extended Header"): `<length> <key>=<value>\n`. Keys and values are bytes
 * here, in latin1, whatever `hdrcharset` says: names need not be UTF-8, and values of xattrs are not text.
 */
export type PaxRecords = ReadonlyMap<string, string>

/** GNU sparse format 0.0 repeats these keys, once for each piece: they are kept as the one list of format 0.1. */
const SPARSE_PIECE = /^GNU\.sparse\.(offset|numbytes)$/
export const SPARSE_MAP = 'GNU.sparse.map'

const [SPACE, EQUALS, NEWLINE] = [0x20, 0x3d, 0x0a]
const LENGTH_DIGITS_MAX = 9

/** Each text is made of the bytes anew: a piece of a longer one would keep all of it in memory. @throws malformed */
export function parsePax(bytes: Buffer): PaxRecords {
  const records = new Map<string, string>()
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(SPACE, at)
    const digits = space > at && space - at <= LENGTH_DIGITS_MAX ? bytes.toString('latin1', at, space) : ''
    const end = at + Number(digits)
    const equals = bytes.indexOf(EQUALS, space)
    const intact = /^[0-9]+$/.test(digits) && end <= bytes.length && bytes[end - 1] === NEWLINE
    if (!intact || equals < space + 2 || equals >= end) throw malformed(`its pax record at ${at} is none`)
    addRecord(records, bytes.toString('latin1', space + 1, equals), bytes.toString('latin1', equals + 1, end - 1))
    at = end
  }
  return records
}

function addRecord(records: Map<string, string>, key: string, value: string): void {
  const list = SPARSE_PIECE.test(key) ? records.get(SPARSE_MAP) : undefined
  if (list !== undefined) records.set(SPARSE_MAP, `${list},${value}`)
  else records.set(SPARSE_PIECE.test(key) ? SPARSE_MAP : key, value)
}

/** The bytes of records in the order given, in latin1. */
export function formatPax(records: PaxRecords): string {
  let text = ''
  for (const [key, value] of records) {
    const rest = ` ${key}=${value}\n`
    let length = rest.length + 1
    while (String(length).length + rest.length > length) length++
    text += `${length}${rest}`
  }
  return text
}
