import { isErrno } from '../errors/errno.ts'
import { forgetMountTable, type MountInfo, mountTable } from '../host/mountinfo.ts'
import { isReadOnlyAt, mountIdOf, statPath } from '../host/stat.ts'
import { describeMount, isSourceIn, type Mounted, sourceOfMount } from '../mounts/records.ts'
import { isSourceOf, type MountSource } from '../mounts/source.ts'
import type { Label } from '../names/label.ts'
import type { Store } from '../store/layout.ts'

interface Found {
  readonly info: MountInfo
  readonly source: MountSource
}

/**
 * Where a label's HEAD is mounted, as this process sees it. Asked many times in a command, of a table that is read anew only when it
 * changed: what that does not tell is asked of the mountpoint.
 */
export function headMounts(store: Store, label: Label): Mounted[] {
  let found = findHeads(store, label)
  if (!found.every(leadsThere)) {
    forgetMountTable() // a directory above was renamed, or something is mounted over it
    found = findHeads(store, label)
  }
  return found.map(each => {
    const { info, source } = each
    const mounted = describeMount(info, source, label)
    return { ...mounted, readOnly: (leadsThere(each) ? isReadOnlyAt(info.mountpoint) : undefined) ?? mounted.readOnly }
  })
}

function findHeads(store: Store, label: Label): Found[] {
  const isHere = isSourceIn(store)
  return mountTable().flatMap(info => {
    const source = sourceOfMount(info)
    const isHead = source?.generation !== undefined && isSourceOf(label, source) && isHere(source)
    return isHead ? [{ info, source }] : []
  })
}

function leadsThere({ info: { id, mountpoint } }: Found): boolean {
  return mountIdOf(mountpoint) === id
}

/**
 * Whether the mountpoint leads to this mount: if something else was mounted over it, calls by path would meet that, and would make a
 * stranger's file system read-only or unmount it.
 */
export function isOnTop({ mountpoint, device }: Mounted): boolean {
  try {
    const { fileSystem } = statPath(`${mountpoint}/.`)
    return device === `${Math.floor(fileSystem / 2 ** 20)}:${fileSystem % 2 ** 20}`
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ESTALE', 'ENOTCONN', 'EIO')) return false
    throw error
  }
}
