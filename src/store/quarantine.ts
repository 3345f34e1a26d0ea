import {
  appendDurable,
  makeDirectories,
  parentOf,
  readBytes,
  rename,
  replaceFile,
  syncDirectory,
} from '../host/files.ts'
import { randomHex } from '../host/random.ts'
import { paths, type Store } from './layout.ts'

/** What fsck takes out of the way. Nothing ever deletes it but the user. */
export interface Quarantine {
  readonly path: string
  /** Moves something of the store here, to the same place below, and notes why. */
  take(path: string, why: string): void
  /** The same with a copy of a small file. */
  copy(path: string, why: string): void
}

/** A place in the quarantine for one run; it is made with the first thing that goes there. */
export function openQuarantine(store: Store): Quarantine {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const path = `${paths.quarantine(store)}/${time}-${randomHex(4)}`
  const prepare = (from: string, why: string): string => {
    const place = from.slice(store.path.length + 1)
    makeDirectories(parentOf(`${path}/${place}`), 0o700)
    appendDurable(`${path}/reasons`, `${JSON.stringify({ place, why })}\n`)
    return `${path}/${place}`
  }
  return {
    path,
    take(from, why) {
      const to = prepare(from, why)
      rename(from, to)
      syncDirectory(parentOf(to))
      syncDirectory(parentOf(from))
    },
    copy(from, why) {
      replaceFile(prepare(from, why), readBytes(from))
    },
  }
}
