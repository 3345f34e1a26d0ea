import fs from 'node:fs'
import { syncFileSystem, syncFileSystemAside, touchWithMode } from '../host/files.ts'
import { statDescriptor } from '../host/stat.ts'
import { nodePath } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'

/**
 * A moment before a scan, on the clock of the store's file system: the ctime of a file that is touched now. Then everything written so
 * far is put on disk, so that a later store into a mapped page shows in its file's ctime. Both together tell which files of a scan may
 * be trusted to be unchanged by their stat alone.
 */
export function touchProbe(store: Store): bigint {
  const ctime = touch(store)
  syncFileSystem(store.path)
  return ctime
}

/** The same beside what this thread does meanwhile, which must be no part of the scan: none begins before the promise is kept. */
export async function touchProbeAside(store: Store): Promise<bigint> {
  const ctime = touch(store)
  await syncFileSystemAside(store.path)
  return ctime
}

function touch(store: Store): bigint {
  const file = fs.openSync(nodePath(`${paths.state(store)}/probe`), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600)
  try {
    touchWithMode(file, 0o600)
    statDescriptor(file) // having been looked at, the next ctime is a new one even within one tick of the clock
    touchWithMode(file, 0o600)
    return statDescriptor(file).ctime
  } finally {
    fs.closeSync(file)
  }
}
