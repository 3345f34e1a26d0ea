import { toStratumError } from '../errors/errno.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import type { Store } from '../store/layout.ts'
import { mountRoots } from './mount-roots.ts'
import { pinRoots } from './pin-roots.ts'
import { refRoots } from './ref-roots.ts'
import type { Root, RootSource } from './root.ts'

/** The sources that every store has. */
function sourcesOf(store: Store): RootSource[] {
  return [
    { name: 'refs', read: () => refRoots(store) },
    { name: 'mounts', read: () => mountRoots(store) },
    { name: 'pins', read: () => pinRoots(store) },
  ]
}

/** Everything that keeps a commit. @throws whatever a source throws: what is unknown is kept, so nobody may delete then */
export async function readRoots(
  store: Store,
  extra: readonly RootSource[] = [],
  signal?: AbortSignal,
): Promise<readonly Root[]> {
  const roots: Root[] = []
  for (const source of [...sourcesOf(store), ...extra]) {
    try {
      for (const root of await source.read(signal)) roots.push(root)
    } catch (cause) {
      throw unreadable(source, cause)
    }
  }
  return roots
}

function unreadable({ name }: RootSource, cause: unknown): StratumError {
  const { code, message, hint, details } = toStratumError(cause, `reading the ${name}`)
  return new StratumError(code, `the ${name} cannot be read, so nothing may be deleted: ${message}`, {
    cause,
    details,
    hint: hint ?? (isStratumError(cause) ? undefined : 'stratum fsck says what is wrong with the store'),
  })
}
