/**
 * POSIX ACLs as tar archives carry them, in text (acl(5), "long text form", with star's numbers behind the permissions), as the value
 * of the xattr that the kernel keeps them in (Linux: include/uapi/linux/posix_acl_xattr.h).
 */
const VERSION = 2
const NO_ID = 0xffffffff
const TAGS: Readonly<Record<string, readonly [all: number, named: number]>> = {
  user: [0x01, 0x02],
  u: [0x01, 0x02],
  group: [0x04, 0x08],
  g: [0x04, 0x08],
  mask: [0x10, 0x10],
  m: [0x10, 0x10],
  other: [0x20, 0x20],
  o: [0x20, 0x20],
}
const HEADER_BYTES = 4
const ENTRY_BYTES = 8
/** Entries for owner, group and others. */
const BASE_ENTRIES = 3

interface AclEntry {
  readonly tag: number
  readonly permissions: number
  readonly id: number
}

/** Undefined where the text names somebody without a number, or is none. */
export function aclFromText(text: string): string | undefined {
  const lines = text.split(/[\n,]/).map(line => line.replace(/#.*/, '').trim())
  const entries = lines.filter(line => line !== '').map(entryOf)
  if (!entries.every(entry => entry !== undefined)) return undefined
  const value = Buffer.alloc(HEADER_BYTES + entries.length * ENTRY_BYTES)
  value.writeUInt32LE(VERSION)
  for (const [i, { tag, permissions, id }] of entries.sort(byTagAndId).entries()) {
    const at = HEADER_BYTES + i * ENTRY_BYTES
    value.writeUInt16LE(tag, at)
    value.writeUInt16LE(permissions, at + 2)
    value.writeUInt32LE(id, at + 4)
  }
  return value.toString('latin1')
}

/** Whether an access ACL says no more than the mode does already; the kernel keeps none such. */
export function isPlainAcl(value: string): boolean {
  return value.length <= HEADER_BYTES + BASE_ENTRIES * ENTRY_BYTES
}

/** `user:1000:rw-`, or `user:anna:rw-:1000`. */
function entryOf(line: string): AclEntry | undefined {
  const [kind, who = '', permissions = '', number = ''] = line.replace(/^default:/, '').split(':')
  const tags = TAGS[kind]
  if (tags === undefined || !/^[r-][w-][x-]$/.test(permissions)) return undefined
  const bits = (permissions[0] === 'r' ? 4 : 0) | (permissions[1] === 'w' ? 2 : 0) | (permissions[2] === 'x' ? 1 : 0)
  if (who === '') return { tag: tags[0], permissions: bits, id: NO_ID }
  const id = [number, who].find(text => /^[0-9]{1,10}$/.test(text))
  return id === undefined || Number(id) >= NO_ID ? undefined : { tag: tags[1], permissions: bits, id: Number(id) }
}

function byTagAndId(a: AclEntry, b: AclEntry): number {
  return a.tag - b.tag || a.id - b.id
}
