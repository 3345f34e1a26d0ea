import { isErrno } from '../errors/errno.ts'
import { close } from '../host/descriptors.ts'
import { makeDirectories, removeTree } from '../host/files.ts'
import { createMount, type MountOption } from '../host/mount-api.ts'
import type { Store } from '../store/layout.ts'
import { trashPath } from '../store/trash.ts'
import type { Openness } from './open-images.ts'

/**
 * Whether a mount that still lives, attached anywhere or nowhere, has this directory as its upperdir or workdir. With `index=on` the
 * kernel refuses a second use of either with EBUSY before it looks at anything else, so an empty lower directory serves for asking: the
 * image below the old mount need not be there any more. To be asked only of what is deleted next, for the kernel may write its marks there.
 */
export function probeUpper(store: Store, path: string): Openness {
  const scratch = trashPath(store, 'probe')
  const options: MountOption[] = [
    ['source', 'stratum-probe'],
    ['lowerdir+', `${scratch}/lower`],
    ['upperdir', path],
    ['workdir', `${scratch}/work`],
    ['index', 'on'],
  ]
  try {
    makeDirectories(`${scratch}/lower`, 0o700)
    makeDirectories(`${scratch}/work`, 0o700)
    close(createMount('overlay', options, 0))
    return 'closed'
  } catch (error) {
    if (isErrno(error, 'EBUSY')) return 'open'
    return isErrno(error, 'ESTALE') ? 'closed' : 'unknown' // ESTALE: nobody has it, and it belongs over another lower directory
  } finally {
    removeTree(scratch)
  }
}
