import { close, createFileAt, openDirectory, renameAt, unlinkAt } from '../host/descriptors.ts'
import { makeDirectory, writeAll } from '../host/files.ts'
import { sizeAt } from '../host/stat.ts'
import { type Digest, verityOf } from '../hashes/verity.ts'
import { objectName, paths, type Store } from '../store/layout.ts'

/** Objects on their way into the store: written under their digests in a folder of the staging area, placed all together later. */
export interface StagedObjects extends Disposable {
  /** Only digests are wanted: nothing is written. */
  readonly hashOnly: boolean
  /** Descriptor of the folder. */
  readonly folder: number
  readonly path: string
  /** What was written here, by digest. */
  readonly written: Set<Digest>
  /** Folders of objects that were found in the store: whoever put them there may not have made their names durable yet. */
  readonly reliedOn: Set<string>
  /** Whether the store has the object, with the right size, or it was written here. */
  has(digest: Digest, size: number): boolean
  /** Stores bytes unless they are there. */
  put(bytes: Uint8Array): Digest
  /** Takes a finished file of this folder as the object of that digest. */
  adopt(name: string, digest: Digest, size: number): void
  /** The name of a new file in the folder. */
  newName(): string
}

const OBJECT_MODE = 0o444

export function openStagedObjects(store: Store, path: string): StagedObjects {
  makeDirectory(path)
  const folder = openDirectory(path)
  const objects = openDirectory(paths.objects(store))
  const written = new Set<Digest>()
  let files = 0
  const reliedOn = new Set<string>()
  const has = (digest: Digest, size: number): boolean => {
    if (written.has(digest)) return true
    if (sizeAt(objects, objectName(digest)) !== size) return false
    reliedOn.add(digest.slice(0, 2))
    return true
  }
  return {
    hashOnly: false,
    folder,
    path,
    written,
    reliedOn,
    has,
    put(bytes) {
      const digest = verityOf(bytes)
      if (has(digest, bytes.length)) return digest
      const file = createFileAt(folder, digest, OBJECT_MODE)
      try {
        writeAll(file, bytes)
      } finally {
        close(file)
      }
      written.add(digest)
      return digest
    },
    adopt(name, digest, size) {
      if (has(digest, size)) {
        unlinkAt(folder, name)
        return
      }
      renameAt(folder, name, folder, digest)
      written.add(digest)
    },
    newName: () => `${files++}.part`,
    [Symbol.dispose]() {
      close(folder)
      close(objects)
    },
  }
}

/** What `status` and `diff` need: digests of files, and nothing written. */
export function hashOnlyObjects(store: Store): StagedObjects {
  const objects = openDirectory(paths.objects(store))
  return {
    hashOnly: true,
    folder: -1,
    path: '',
    written: new Set(),
    reliedOn: new Set(),
    has: (digest, size) => sizeAt(objects, objectName(digest)) === size,
    put: verityOf,
    adopt: () => undefined,
    newName: () => '',
    [Symbol.dispose]: () => close(objects),
  }
}
