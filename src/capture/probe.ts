import fs from 'node:fs'
import { syncFileSystemAside, touchWithMode } from '../host/files.ts'
import { statDescriptor } from '../host/stat.ts'
import { nodePath } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'

/**
 * A moment before a scan, on the clock of the store's file system: the ctime of a file that is touched now. Then everything written so
 * far is put on disk, so that a later store into a mapped page shows in its file's ctime. Both together tell which files of a scan may
 * be trusted to be unchanged by their stat alone. The file is touched at once; what the caller does until the promise is kept goes on
 * beside the disk's work, and must be no part of the scan.
 */
export async function touchProbe(store: Store): Promise<bigint> {
  const file = fs.openSync(nodePath(`${paths.state(store)}/probe`), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600)
  try {
    touchWithMode(file, 0o600)
    statDescriptor(file) // having been looked at, the next ctime is a new one even within one tick of the clock
    touchWithMode(file, 0o600)
    const { ctime } = statDescriptor(file)
    await syncFileSystemAside(store.path)
    return ctime
  } finally {
    fs.closeSync(file)
  }
}
