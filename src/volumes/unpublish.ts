import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { describeHolders, findHolders } from '../heads/holders.ts'
import { removeDirectoryAt } from '../host/descriptors.ts'
import { nameOf } from '../host/files.ts'
import { unmountAt } from '../host/mount-api.ts'
import { readMounts } from '../host/mountinfo.ts'
import { toUser } from '../names/text.ts'
import { headTargets, type Published, strike } from './ledger.ts'
import { retireHead } from './head-overlay.ts'
import { rememberMount } from './recover.ts'
import { lookAt, namesIn, openParent, readTarget, type Target } from './targets.ts'
import type { Volumes } from './volumes.ts'

/** A process of the pod may be about to end. */
const BUSY_LIMIT_MS = 2_000
const BUSY_POLL_MS = 20

/**
 * Takes a volume from a target, and the target with it: what is not there is gone already. What somebody else put there stays. The last
 * target of a HEAD takes its overlay along, in the background. @throws usage, in-use (a process, something foreign, another volume)
 */
export async function unpublishVolume(
  volumes: Volumes,
  { volumeId, target: text }: { readonly volumeId: string; readonly target: string },
  signal: AbortSignal,
): Promise<void> {
  const { driver, ledger } = volumes
  const target = readTarget(driver, text)
  using parent = openParent(driver, target)
  if (parent === undefined) return finish(volumes, target)
  for (;;) {
    const found = lookAt(parent.fd, target)
    if (found.kind === 'missing') return finish(volumes, target)
    if (found.kind === 'other')
      throw new StratumError('in-use', `${toUser(target.path)} is ${found.what}: no volume put it there`)
    if (found.kind === 'directory') break
    const published = rememberMount(volumes, target, found.mount)
    requireOurs(target, volumeId, published)
    await unmountTarget(parent.fd, target, signal)
    ledger.published.delete(target.path)
    if (published !== undefined) leaveHead(volumes, published)
  }
  removeTarget(parent.fd, target)
  finish(volumes, target)
}

function finish({ ledger }: Volumes, target: Target): void {
  strike(ledger, target.path)
}

function leaveHead(volumes: Volumes, { label, name }: Published): void {
  if (name === undefined && headTargets(volumes.ledger, label).length === 0) retireHead(volumes, label)
}

function requireOurs(target: Target, volumeId: string, published: Published | undefined): void {
  if (published === undefined)
    throw new StratumError('in-use', `something else is mounted at ${toUser(target.path)}`, {
      hint: `See what it is: findmnt ${toUser(target.path)}`,
    })
  if (published.volumeId === undefined || published.volumeId === volumeId) return
  throw new StratumError('in-use', `${toUser(target.path)} is a target of volume ${published.volumeId}`)
}

async function unmountTarget(parent: number, target: Target, signal: AbortSignal): Promise<void> {
  for (const end = performance.now() + BUSY_LIMIT_MS; ; await sleep(BUSY_POLL_MS, undefined, { signal })) {
    try {
      return unmountAt(parent, nameOf(target.path))
    } catch (error) {
      if (isErrno(error, 'EINVAL', 'ENOENT')) return // somebody was faster; what is there now, the caller looks at
      if (!isErrno(error, 'EBUSY')) throw toStratumError(error, `unmounting ${toUser(target.path)}`)
      if (performance.now() >= end) throw beingUsed(target)
    }
  }
}

function beingUsed({ path }: Target): StratumError {
  const device = readMounts().findLast(({ mountpoint }) => mountpoint === path)?.device
  const holders = device === undefined ? [] : findHolders(device)
  const who = holders.length > 0 ? describeHolders(holders) : 'somebody who is not to be seen from here'
  return new StratumError('in-use', `${toUser(path)} is in use: ${who}`, {
    details: { holders: holders.map(({ pid }) => String(pid)) },
  })
}

/** Never more than the directory itself. */
function removeTarget(parent: number, target: Target): void {
  try {
    removeDirectoryAt(parent, nameOf(target.path))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw toStratumError(error, `removing ${toUser(target.path)}`)
    const names = namesIn(parent, target)
    throw new StratumError(
      'in-use',
      `${toUser(target.path)} is no mount and holds ${names.length} names that no volume put there (${names.slice(0, 3).map(toUser).join(', ')})`,
      { hint: 'Save what they are, and move them away' },
    )
  }
}
