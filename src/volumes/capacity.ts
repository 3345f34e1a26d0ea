import { StratumError } from '../errors/stratum-error.ts'
import { fileSystemSpace } from '../host/files.ts'
import type { Store } from '../store/layout.ts'

/** Bytes that a new volume may ask for: what is left, for nothing is reserved. */
export function freeCapacity(store: Store): number {
  return fileSystemSpace(store.path).freeBytes
}

/** @throws no-space if a volume asks for more than there is left: another node may have it */
export function requireCapacity(store: Store, { requiredBytes }: { readonly requiredBytes: number }): void {
  const free = freeCapacity(store)
  if (requiredBytes <= free) return
  throw new StratumError('no-space', `the store has ${free} bytes left, and the volume asks for ${requiredBytes}`)
}
