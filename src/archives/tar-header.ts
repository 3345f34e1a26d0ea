import { malformed } from './errors.ts'
import { isZero } from './decompress.ts'

/** The 512 bytes in front of each member of a tar archive (POSIX.1-2024, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"). */
export const BLOCK = 512

/** A header's fields as they are; names are latin1. */
export interface TarHeader {
  readonly name: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of data behind the header. */
  readonly size: number
  /** Modification time. */
  readonly seconds: number
  /** One character. */
  readonly type: string
  readonly linkName: string
  readonly major: number
  readonly minor: number
}

export const MEMBER = {
  regular: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  contiguous: '7',
  pax: 'x',
  paxGlobal: 'g',
  gnuLongName: 'L',
  gnuLongLink: 'K',
  gnuSparse: 'S',
  gnuDirectory: 'D',
  gnuVolume: 'V',
} as const

/** Offset and length of each field. */
const AT = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  seconds: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const satisfies Record<string, readonly [number, number]>
type Field = keyof typeof AT

const USTAR = 'ustar\x0000'

/** Whether a block could be the first of a tar archive: a header with the right sum, or the zeros of an empty archive. */
export function isTarBlock(block: Buffer): boolean {
  return block.length === BLOCK && (checksumOf(block) === readNumber(block, 'checksum') || isZero(block))
}

/** @throws malformed */
export function decodeHeader(block: Buffer): TarHeader {
  if (checksumOf(block) !== readNumber(block, 'checksum')) throw malformed('its checksum is wrong')
  const number = (field: Field): number => {
    const value = readNumber(block, field)
    if (!Number.isSafeInteger(value)) throw malformed(`its field ${field} is no number that can be`)
    return value
  }
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isUstar ? readText(block, 'prefix') : ''
  const name = readText(block, 'name')
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    mode: number('mode'),
    uid: number('uid'),
    gid: number('gid'),
    size: number('size'),
    seconds: number('seconds'),
    type: block[156] === 0 ? MEMBER.regular : String.fromCharCode(block[156]),
    linkName: readText(block, 'linkName'),
    major: isDevice(block) ? number('major') : 0,
    minor: isDevice(block) ? number('minor') : 0,
  }
}

/** Old writers leave garbage in the device numbers of what is no device. */
function isDevice(block: Buffer): boolean {
  const type = String.fromCharCode(block[156])
  return type === MEMBER.character || type === MEMBER.block
}

function readText(block: Buffer, field: Field): string {
  const [at, length] = AT[field]
  const text = block.toString('latin1', at, at + length)
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

/** Octal digits, or the big-endian two's complement of GNU tar. NaN where it is neither. */
export function readNumberAt(block: Buffer, at: number, length: number): number {
  if ((block[at] & 0x80) === 0) {
    const digits = /^[ \0]*([0-7]*)(?:[ \0].*)?$/s.exec(block.toString('latin1', at, at + length))?.[1]
    return digits === undefined ? Number.NaN : Number.parseInt(`0${digits}`, 8)
  }
  const isNegative = (block[at] & 0x40) !== 0
  let value = isNegative ? (block[at] & 0x7f) - 0x80 : block[at] & 0x7f
  for (let i = 1; i < length; i++) value = value * 256 + block[at + i]
  return value
}

function readNumber(block: Buffer, field: Field): number {
  return readNumberAt(block, AT[field][0], AT[field][1])
}

/** The sum of all bytes, those of the checksum itself counted as spaces. */
function checksumOf(block: Buffer): number {
  const [at, length] = AT.checksum
  let sum = length * 0x20
  for (let i = 0; i < at; i++) sum += block[i]
  for (let i = at + length; i < BLOCK; i++) sum += block[i]
  return sum
}

/** Numbers that do not fit take their largest value; whoever needs them right puts them into a pax header. Only a size may be binary. */
export function encodeHeader(header: TarHeader): Buffer {
  const block = Buffer.alloc(BLOCK)
  const text = (field: Field, value: string): void => void block.write(value, AT[field][0], AT[field][1], 'latin1')
  const octal = (field: Field, value: number): void =>
    text(
      field,
      Math.max(0, Math.min(value, numberMax(field)))
        .toString(8)
        .padStart(AT[field][1] - 1, '0'),
    )
  text('name', header.name)
  octal('mode', header.mode)
  octal('uid', header.uid)
  octal('gid', header.gid)
  octal('size', header.size)
  if (header.size > numberMax('size')) writeBinary(block, header.size)
  octal('seconds', header.seconds)
  text('type', header.type)
  text('linkName', header.linkName)
  text('magic', USTAR)
  octal('major', header.major)
  octal('minor', header.minor)
  text('checksum', `${checksumOf(block).toString(8).padStart(6, '0')}\0 `)
  return block
}

/** The largest number that a field holds in octal. */
export function numberMax(field: Field): number {
  return 8 ** (AT[field][1] - 1) - 1
}

function writeBinary(block: Buffer, size: number): void {
  const [at, length] = AT.size
  let left = size
  for (let i = length - 1; i > 0; i--) {
    block[at + i] = left % 256
    left = Math.floor(left / 256)
  }
  block[at] = 0x80
}
