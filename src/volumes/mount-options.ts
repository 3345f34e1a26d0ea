import fs from 'node:fs'
import { StratumError } from '../errors/stratum-error.ts'
import { quote } from '../names/label.ts'

/** How the mount at one target is to be. */
export interface TargetOptions {
  /** Words as mountinfo has them, for `copyMountAttributes`. */
  readonly attributes: readonly string[]
  readonly securityContext: string | undefined
}

const SET = new Set(['nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'nosymfollow', 'relatime', 'ro'])
/** What takes a word back that is there by default or came before. */
const CLEAR: Readonly<Record<string, string>> = {
  suid: 'nosuid',
  dev: 'nodev',
  exec: 'noexec',
  atime: 'noatime',
  diratime: 'nodiratime',
  symfollow: 'nosymfollow',
  strictatime: 'relatime',
  rw: 'ro',
}
const DEFAULTS = ['nosuid', 'nodev', 'relatime']
const CONTEXT = /^context=("?)([A-Za-z0-9_.:,-]+)\1$/

/** Reads the mountOptions of a PersistentVolume: a closed set. @throws usage */
export function readMountOptions(flags: readonly string[], readOnly: boolean): TargetOptions {
  const words = new Set<string>(DEFAULTS)
  let securityContext: string | undefined
  for (const flag of flags) {
    const context = CONTEXT.exec(flag)?.[2]
    if (context !== undefined) securityContext = context
    else if (SET.has(flag)) words.add(flag)
    else if (CLEAR[flag] !== undefined) words.delete(CLEAR[flag])
    else if (flag !== 'defaults') throw unknownFlag(flag)
  }
  if (words.has('noatime')) words.delete('relatime')
  if (readOnly) words.add('ro')
  return { attributes: [...words], securityContext: hasSelinux() ? securityContext : undefined }
}

function unknownFlag(flag: string): StratumError {
  return new StratumError('usage', `unknown mount option ${quote(flag)}`, {
    hint: `There are ${[...SET, ...Object.keys(CLEAR)].join(', ')} and context=…`,
  })
}

/** As with mount(8), a context means nothing to a kernel without SELinux. */
function hasSelinux(): boolean {
  return fs.existsSync('/sys/fs/selinux/enforce')
}
