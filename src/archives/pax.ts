import { malformed } from './errors.ts'

/**
 * Records of pax extended headers (POSIX.1-2024, pax, "pax Extended Header"): `<length> <key>=<value>\n`. Keys and values are bytes
 * here, in latin1, whatever `hdrcharset` says: names need not be UTF-8, and values of xattrs are not text.
 */
export type PaxRecords = ReadonlyMap<string, string>

/** GNU sparse format 0.0 repeats these keys, once for each piece: they are kept as the one list of format 0.1. */
const SPARSE_PIECE = /^GNU\.sparse\.(offset|numbytes)$/
export const SPARSE_MAP = 'GNU.sparse.map'

/** @throws malformed */
export function parsePax(text: string): PaxRecords {
  const records = new Map<string, string>()
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(' ', at)
    const digits = text.slice(at, space)
    const end = at + Number(digits)
    const equals = text.indexOf('=', space)
    const intact = space > at && /^[0-9]{1,9}$/.test(digits) && end <= text.length && text[end - 1] === '\n'
    if (!intact || equals < space + 2 || equals >= end) throw malformed(`its pax record at ${at} is none`)
    const key = text.slice(space + 1, equals)
    const value = text.slice(equals + 1, end - 1)
    if (SPARSE_PIECE.test(key)) {
      const list = records.get(SPARSE_MAP)
      records.set(SPARSE_MAP, list === undefined ? value : `${list},${value}`)
    } else records.set(key, value)
    at = end
  }
  return records
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
