import { close, openDirectory, openLockFileAt } from '../host/descriptors.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { describeProcesses, lockHolders } from '../host/lock-holders.ts'
import { waitForLock } from '../host/locks.ts'
import { toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'

/** So long a new plugin waits for the one that it takes the place of. */
const LIMIT_MS = 60_000

/**
 * One plugin serves a store: it alone writes the records of volumes and knows what is published. The kernel drops the lock with the
 * process, however that ends. @throws busy, with the other one
 */
export async function lockForNode(store: Store, signal: AbortSignal, limitMs = LIMIT_MS): Promise<Disposable> {
  const state = openDirectory(paths.state(store))
  const lock = openLockFileAt(state, 'node.lock')
  close(state)
  if (!(await waitForLock(lock, 'exclusive', limitMs, signal))) {
    const holders = lockHolders(lock)
    close(lock)
    const by = holders.length > 0 ? ` (${describeProcesses(holders)})` : ''
    throw new StratumError('busy', `another stratum node serves the store ${toUser(store.path)}${by}`, {
      hint: 'Stop that first; one plugin serves a store',
    })
  }
  return { [Symbol.dispose]: () => close(lock) }
}
