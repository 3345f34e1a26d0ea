import { isErrno } from '../errors/errno.ts'
import type { Digest } from '../hashes/verity.ts'
import { close, openDirectory, renameAt, unlinkAt } from '../host/descriptors.ts'
import { makeDirectory, removeIfExists, removeTree, rename, syncDirectory } from '../host/files.ts'
import { statIfExists } from '../host/stat.ts'
import type { CommitId } from '../names/commit-id.ts'
import { objectName, paths, type Store } from '../store/layout.ts'
import { SWEEP_KIND, trashedCommit, trashPath } from '../store/trash.ts'

/** Where a sweep puts what it takes. Each call answers whether the thing was there. */
export interface Bin extends Disposable {
  /** For whoever is alone in the store again: meanwhile, a collection without a grace period may have taken the item away. Then there is another. */
  beginTurn(): void
  takeCommit(id: CommitId): boolean
  takeObject(digest: Digest): boolean
}

/** An item of the trash, open for objects; `no room` is left on a disk that is full to the last block. */
type Place = { readonly objects: number } | 'no room'

/** The item is made with the first thing that goes into it. */
export function openBin(store: Store): Bin {
  const path = trashPath(store, SWEEP_KIND)
  const objects = openDirectory(paths.objects(store))
  let place: Place | undefined
  const open = (): Place => (place ??= makeItem(store, path))
  return {
    beginTurn() {
      if (typeof place !== 'object' || statIfExists(path) !== undefined) return
      close(place.objects)
      place = undefined
    },
    takeCommit(id) {
      if (statIfExists(paths.commit(store, id)) === undefined) return false
      const isMoved =
        open() !== 'no room' && hasRoomFor(() => rename(paths.commit(store, id), trashedCommit({ path }, id)))
      if (!isMoved) deleteCommit(store, id)
      return true
    },
    takeObject(digest) {
      const into = open()
      try {
        const isMoved =
          into !== 'no room' && hasRoomFor(() => renameAt(objects, objectName(digest), into.objects, digest))
        if (!isMoved) unlinkAt(objects, objectName(digest))
        return true
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return false // another collector was faster
        throw error
      }
    },
    [Symbol.dispose]() {
      close(objects)
      if (typeof place === 'object') close(place.objects)
    },
  }
}

/** Where not even a folder can be made any more, things are deleted at once: that is what is needed then. */
function makeItem(store: Store, path: string): Place {
  const isMade = hasRoomFor(() => {
    for (const folder of [paths.trash(store), path, `${path}/commits`, `${path}/objects`]) makeDirectory(folder, 0o700)
    syncDirectory(paths.trash(store))
  })
  return isMade ? { objects: openDirectory(`${path}/objects`) } : 'no room'
}

function hasRoomFor(work: () => void): boolean {
  try {
    work()
    return true
  } catch (error) {
    if (isErrno(error, 'ENOSPC', 'EDQUOT')) return false
    throw error
  }
}

/** Without metadata.toml it is no commit any more, whatever is left of it. */
function deleteCommit(store: Store, id: CommitId): void {
  removeIfExists(paths.metadata(store, id))
  removeTree(paths.commit(store, id))
}
