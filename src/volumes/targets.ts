import fs from 'node:fs'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { close, openDirectory, openDirectoryBeneath, openHandleAt } from '../host/descriptors.ts'
import { isDirectoryMode, mountRootedAt, statDescriptor } from '../host/stat.ts'
import { nameOf, parentOf } from '../host/files.ts'
import { fromUser, nodePath, toUser } from '../names/text.ts'
import type { DriverOptions } from './volumes.ts'

/** A target path that was held against the rules; nothing was looked at yet. */
export interface Target {
  /** Latin1. */
  readonly path: string
  /** Of the pod whose folder it is in; undefined where no kubelet is. */
  readonly podUid: string | undefined
}

const BELOW_KUBELET = /^pods\/([^/]+)\/.+/

/** @throws usage for what is no absolute, plain path in a pod's folder */
export function readTarget({ kubeletDir }: DriverOptions, text: string): Target {
  const path = fromUser(text)
  const isPlain =
    path.startsWith('/') &&
    path
      .slice(1)
      .split('/')
      .every(part => part !== '' && part !== '.' && part !== '..')
  if (!isPlain) throw new StratumError('usage', `${toUser(path)} is no target: it is not an absolute, plain path`)
  if (kubeletDir === undefined) return { path, podUid: undefined }
  const below = path.startsWith(`${kubeletDir}/`) ? path.slice(kubeletDir.length + 1) : ''
  const podUid = BELOW_KUBELET.exec(below)?.[1]
  if (podUid !== undefined) return { path, podUid }
  throw new StratumError('usage', `${toUser(path)} is not in the folder of a pod below ${toUser(kubeletDir)}`)
}

/** The folder that a target is in, held open: from here on no symlink and no rename leads elsewhere. Undefined if there is none. */
export function openParent({ kubeletDir }: DriverOptions, { path }: Target): (Disposable & { fd: number }) | undefined {
  const parent = parentOf(path)
  try {
    const fd = kubeletDir === undefined ? openDirectory(parent) : openBelow(kubeletDir, parent)
    return { fd, [Symbol.dispose]: () => close(fd) }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    if (isErrno(error, 'ELOOP', 'EXDEV', 'ENOTDIR'))
      throw new StratumError(
        'usage',
        `the path of ${toUser(path)} leads over a symlink or something that is no directory`,
      )
    throw toStratumError(error, `opening ${toUser(parent)}`)
  }
}

function openBelow(folder: string, path: string): number {
  const top = openDirectory(folder)
  try {
    return openDirectoryBeneath(top, path.slice(folder.length + 1))
  } finally {
    close(top)
  }
}

/** What is at a target. */
export type AtTarget =
  | { readonly kind: 'missing' }
  | { readonly kind: 'directory' }
  | { readonly kind: 'mount'; readonly mount: bigint }
  | { readonly kind: 'other'; readonly what: 'a symlink' | 'no directory' }

export function lookAt(parent: number, { path }: Target): AtTarget {
  let handle: number
  try {
    handle = openHandleAt(parent, nameOf(path))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { kind: 'missing' }
    throw toStratumError(error, `looking at ${toUser(path)}`)
  }
  try {
    const mount = mountRootedAt(handle)
    if (mount !== undefined) return { kind: 'mount', mount }
    const { mode } = statDescriptor(handle)
    if (isDirectoryMode(mode)) return { kind: 'directory' }
    return { kind: 'other', what: (mode & 0o170000) === 0o120000 ? 'a symlink' : 'no directory' }
  } finally {
    close(handle)
  }
}

/** The number of the mount at a path, if one is there and can be reached. */
export function mountAt(driver: DriverOptions, target: Target): bigint | undefined {
  try {
    using parent = openParent(driver, target)
    const found = parent === undefined ? undefined : lookAt(parent.fd, target)
    return found?.kind === 'mount' ? found.mount : undefined
  } catch {
    return undefined
  }
}

/** The first few names in a target that is no mount, for a message. */
export function namesIn(parent: number, { path }: Target): string[] {
  return fs.readdirSync(nodePath(`/proc/self/fd/${parent}/${nameOf(path)}`), 'latin1')
}
