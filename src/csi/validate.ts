import { StratumError } from '../errors/stratum-error.ts'
import { quote } from '../names/label.ts'

/** Limits of the CSI specification, "Size Limits". */
const TEXT_BYTES_MAX = 128
const MAP_BYTES_MAX = 4096
const PATH_BYTES_MAX = 4096
/** Paths are not limited to 128 bytes; node ids to 256. */
const PATHS = new Set(['target_path', 'staging_target_path', 'volume_path'])
const LONG = new Set(['node_id', 'starting_token'])
/** Fields that are maps of texts; any other object is a message. */
const MAPS = new Set(['parameters', 'mutable_parameters', 'volume_context', 'publish_context', 'secrets', 'segments'])
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x1f\x7f]/

/** Holds every text and map of a request against the limits, before anything looks at them. @throws usage */
export function checkSizes(request: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(request)) checkValue(key, value)
}

function checkValue(key: string, value: unknown): void {
  if (typeof value === 'string') checkText(key, value)
  else if (Array.isArray(value)) for (const item of value) checkValue(key, item)
  else if (typeof value === 'object' && value !== null && !Buffer.isBuffer(value)) {
    if (MAPS.has(key)) checkMap(key, value as Record<string, string>)
    else checkSizes(value as Record<string, unknown>)
  }
}

function checkText(key: string, text: string): void {
  const limit = PATHS.has(key) ? PATH_BYTES_MAX : LONG.has(key) ? TEXT_BYTES_MAX * 2 : TEXT_BYTES_MAX
  if (Buffer.byteLength(text) > limit) throw new StratumError('usage', `${key} has more than ${limit} bytes`)
  if (CONTROL.test(text)) throw new StratumError('usage', `${key} holds control characters`)
}

function checkMap(key: string, map: Readonly<Record<string, string>>): void {
  let bytes = 0
  for (const [name, value] of Object.entries(map)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value)
    if (key !== 'secrets' && CONTROL.test(name + value))
      throw new StratumError('usage', `${key} holds control characters at ${quote(name)}`)
  }
  if (bytes > MAP_BYTES_MAX) throw new StratumError('usage', `${key} has more than ${MAP_BYTES_MAX} bytes`)
}

/** @throws usage if a required field is empty */
export function required<Field extends string>(request: { readonly [Key in Field]?: unknown }, field: Field): string {
  const value = request[field]
  if (typeof value === 'string' && value !== '') return value
  throw new StratumError('usage', `${field} is missing`)
}
