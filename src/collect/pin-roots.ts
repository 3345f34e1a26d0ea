import { StratumError } from '../errors/stratum-error.ts'
import { listNames, TEMPORARY_PREFIX } from '../host/files.ts'
import { isCommitId } from '../names/commit-id.ts'
import { toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Root } from './root.ts'

/** Commits that somebody pinned: a file for each, named by its id. @throws integrity for any other name */
export function pinRoots(store: Store): Root[] {
  return listNames(paths.pins(store))
    .filter(name => !name.startsWith(TEMPORARY_PREFIX))
    .map(name => {
      if (isCommitId(name)) return { commit: name, kind: 'pin', holder: 'a pin' }
      throw new StratumError('integrity', `${toUser(`${paths.pins(store)}/${name}`)} names no commit`)
    })
}
