import { isErrno } from '../errors/errno.ts'
import { statPath } from '../host/stat.ts'
import { listMounted, type Mounted } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import type { Store } from '../store/layout.ts'

/** Where a label's HEAD is mounted, as this process sees it. */
export function headMounts(store: Store, label: Label): Mounted[] {
  return listMounted(store).filter(mounted => mounted.label === label && mounted.generation !== undefined)
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
