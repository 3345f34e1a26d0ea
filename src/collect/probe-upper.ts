import { isErrno } from '../errors/errno.ts'
import { readMark } from '../heads/pair.ts'
import { close } from '../host/descriptors.ts'
import { makeDirectories, parentOf, removeTree } from '../host/files.ts'
import { createMount, type MountOption } from '../host/mount-api.ts'
import { OBJECT_FOLDERS, paths, type Store } from '../store/layout.ts'
import { trashPath } from '../store/trash.ts'
import type { Openness } from './open-images.ts'

/**
 * Whether a mount that still lives, attached anywhere or nowhere, has this directory as its upperdir or workdir. With `index=on` the
 * kernel refuses a second use of either with EBUSY before it looks at anything else, so an empty lower directory serves for asking: the
 * image below the old mount need not be there any more. To be asked only of what is deleted next, for the kernel may write its marks there.
 */
export function probeUpper(store: Store, path: string): Openness {
  const scratch = trashPath(store, 'probe')
  try {
    makeDirectories(`${scratch}/lower`, 0o700)
    makeDirectories(`${scratch}/work`, 0o700)
    return probe({ upper: path, work: `${scratch}/work`, lower: `${scratch}/lower` })
  } catch (error) {
    return isErrno(error, 'ENOSPC', 'EDQUOT') ? probePair(store, parentOf(path)) : 'unknown'
  } finally {
    removeTree(scratch)
  }
}

/**
 * Where no directory can be made any more, a pair is asked for as a whole, each half in its own place, over a directory that every store
 * has; nothing is written there. A half alone stays, for its contents could not be told from what the kernel clears out of a workdir.
 */
function probePair(store: Store, folder: string): Openness {
  const [upper, work] = [`${folder}/head`, `${folder}/work`]
  if (readMark(upper) === undefined || readMark(work) === undefined) return 'unknown'
  return probe({ upper, work, lower: `${paths.objects(store)}/${OBJECT_FOLDERS[0]}` })
}

function probe({ upper, work, lower }: Readonly<Record<'upper' | 'work' | 'lower', string>>): Openness {
  const options: MountOption[] = [
    ['source', 'stratum-probe'],
    ['lowerdir+', lower],
    ['upperdir', upper],
    ['workdir', work],
    ['index', 'on'],
  ]
  try {
    close(createMount('overlay', options, 0))
    return 'closed'
  } catch (error) {
    if (isErrno(error, 'EBUSY')) return 'open'
    return isErrno(error, 'ESTALE') ? 'closed' : 'unknown' // ESTALE: nobody has it, and it belongs over another lower directory
  }
}
