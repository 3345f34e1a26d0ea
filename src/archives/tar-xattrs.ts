import type { Xattr } from '../erofs/xattrs.ts'
import { malformed, shown } from './errors.ts'
import { aclFromText, isPlainAcl } from './acl-text.ts'
import type { PaxRecords } from './pax.ts'

/** How pax headers carry extended attributes: star's keys, which GNU tar, bsdtar and Go's archive/tar read and write too. */
const XATTR = 'SCHILY.xattr.'
const ACCESS_ACL = 'system.posix_acl_access'
const ACL_TEXTS: readonly (readonly [key: string, xattr: string])[] = [
  ['SCHILY.acl.access', ACCESS_ACL],
  ['SCHILY.acl.default', 'system.posix_acl_default'],
]
const SELINUX_TEXT = 'RHT.security.selinux'
const SELINUX = 'security.selinux'
const NAME_BYTES_MAX = 255

export interface TarXattrs {
  readonly xattrs: readonly Xattr[]
  /** There were ACLs that name users or groups without their numbers. */
  readonly lostAcl: boolean
}

/** The xattrs that a member's own pax header holds. @throws malformed */
export function xattrsOf(pax: PaxRecords): TarXattrs {
  const xattrs = new Map<string, string>()
  let lostAcl = false
  for (const [key, value] of pax)
    if (key.startsWith(XATTR)) xattrs.set(checkName(decodeName(key.slice(XATTR.length))), value)
  for (const [key, name] of ACL_TEXTS) {
    const text = pax.get(key)
    if (text === undefined || xattrs.has(name)) continue
    const acl = aclFromText(text)
    if (acl === undefined) lostAcl = true
    else if (name !== ACCESS_ACL || !isPlainAcl(acl)) xattrs.set(name, acl)
  }
  const context = pax.get(SELINUX_TEXT)
  if (context && !xattrs.has(SELINUX)) xattrs.set(SELINUX, `${context}\0`)
  return { xattrs: [...xattrs], lostAcl }
}

function checkName(name: string): string {
  if (name.length > NAME_BYTES_MAX || name.includes('\0') || /^(?:|user\.|trusted\.|security\.)$/.test(name))
    throw malformed(`${shown(name)} cannot be the name of an extended attribute`)
  return name
}

/** The key of an xattr's record. GNU tar writes `=`, which would end the key, and `%` so. */
export function xattrKey(name: string): string {
  return XATTR + name.replaceAll('%', '%25').replaceAll('=', '%3D')
}

function decodeName(name: string): string {
  return name.replace(/%(25|3D)/g, (_, code) => (code === '25' ? '%' : '='))
}
