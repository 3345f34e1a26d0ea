import { setTimeout as sleep } from 'node:timers/promises'
import type { LayerScan } from '../capture/scan-layer.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { isErrno } from '../errors/errno.ts'
import type { Freezer } from '../host/cgroup.ts'
import { dropCaches, setSuperblockReadOnly } from '../host/mount-api.ts'
import type { Mounted } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import type { Store } from '../store/layout.ts'
import type { CaptureSession } from './capture-session.ts'
import { type Frozen, freezeWriters, markReadOnly, markThawed } from './freeze.ts'
import { isOnTop } from './head-mounts.ts'
import { describeHolders, findHolders } from './holders.ts'
import { isSuperblockGone } from './probe-superblock.ts'

/** How the writers of HEAD are treated while it is read (docs/head.md 4). */
export type Consistency = 'live' | 'freeze' | 'idle'

export interface StillOptions {
  readonly consistency: Consistency
  /** Milliseconds that anybody stands still at most. */
  readonly maxPauseMs: number
  /** Milliseconds after which a freeze is no longer tried again. */
  readonly deadlineMs: number
  /** Groups of all that can write, if the caller knows them; else the processes that hold HEAD are looked for. */
  readonly freezers: readonly Freezer[] | undefined
  /** The same for a caller who has to look for them: asked each time that they are to be stopped. */
  readonly findFreezers?: () => readonly Freezer[] | undefined
}

export interface StillScan {
  readonly scan: LayerScan
  /** Milliseconds that writers stood still. */
  readonly pauseMs: number
  /** Names that never held still: only `live` returns any. */
  readonly unstable: readonly string[]
}

interface Target {
  readonly store: Store
  readonly label: Label
  readonly head: HeadRecord
  /** Where HEAD is mounted, as far as it is seen. */
  readonly mounted: readonly Mounted[]
  readonly session: CaptureSession
  readonly signal: AbortSignal | undefined
}

const LIVE_SCANS_MAX = 10
const LIVE_PAUSE_MS = 20
const RETRY_MS = 5

/** Reads HEAD so that what was read belongs together, as far as was asked for. */
export function scanStill(target: Target, options: StillOptions): Promise<StillScan> {
  if (options.consistency === 'freeze') return scanFrozen(target, options)
  return options.consistency === 'idle' ? scanIdle(target) : scanLive(target)
}

/** Scans again and again what moved, until two scans agree. */
async function scanLive({ session, signal }: Target): Promise<StillScan> {
  let scan = await session.scan()
  for (let scans = 1; scans < LIVE_SCANS_MAX; scans++) {
    const before = scan
    scan = await session.scan(before)
    if (scan.moved.length === 0) return { scan, pauseMs: 0, unstable: [] }
    await sleep(LIVE_PAUSE_MS * scans, undefined, signal === undefined ? {} : { signal })
  }
  return { scan, pauseMs: 0, unstable: [...new Set(scan.moved)] }
}

/** Nobody can write: the kernel makes the superblock read-only only then, or there is none. */
async function scanIdle(target: Target): Promise<StillScan> {
  const { store, label, mounted, session } = target
  const mount = mounted.find(isOnTop)
  if (mount === undefined) return scanUnmounted(target)
  const dropping = dropCaches(mount.mountpoint) // else the kernel does it while nobody may write
  const first = await session.scan()
  await dropping
  markReadOnly(store, label, mount.mountpoint)
  const since = performance.now()
  try {
    setSuperblockReadOnly(mount.mountpoint, true)
  } catch (error) {
    markThawed(store, label)
    throw isErrno(error, 'EBUSY') ? beingWritten(label, mount) : error
  }
  try {
    return { scan: await session.scan(first), pauseMs: performance.now() - since, unstable: [] }
  } finally {
    setSuperblockReadOnly(mount.mountpoint, false)
    markThawed(store, label) // not if that failed: the next command tries it again
  }
}

/** HEAD may live where it cannot be seen from here. Nobody can mount it meanwhile: the caller has the label's lock. */
async function scanUnmounted({ store, label, head, mounted, session }: Target): Promise<StillScan> {
  if (!isSuperblockGone(store, label, head)) {
    const [covered] = mounted
    const where =
      covered === undefined
        ? 'in another mount namespace, or held by a process after its unmount'
        : `under another mount at ${toUser(covered.mountpoint)}`
    throw new StratumError('in-use', `${label} is mounted where its writers cannot be kept out: ${where}`, {
      hint: 'Commit with --live, or where it is mounted',
    })
  }
  return { scan: await session.scan(await session.scan()), pauseMs: 0, unstable: [] }
}

function beingWritten(label: Label, { device }: Mounted): StratumError {
  const writers = findHolders(device).filter(({ writes }) => writes)
  const who =
    writers.length > 0
      ? describeHolders(writers)
      : 'somebody who is not to be seen from here (an unlinked file, another namespace)'
  return new StratumError('in-use', `${label} is being written to: ${who}`, {
    hint: 'Commit with --live (each file as at one moment) or --freeze (a point in time), or when they are done',
    details: { holders: writers.map(({ pid }) => String(pid)) },
  })
}

/** A point in time: most is read while everybody runs, the rest while all writers stand still, briefly. */
async function scanFrozen(target: Target, options: StillOptions): Promise<StillScan> {
  const { label, session, signal } = target
  const end = performance.now() + options.deadlineMs
  let scan = await session.scan()
  for (let tries = 1; ; tries++) {
    scan = await session.scan(scan)
    const still = await scanWhileFrozen(target, options, scan)
    if (still !== undefined) return still
    await sleep(RETRY_MS, undefined, signal === undefined ? {} : { signal })
    if (performance.now() < end) continue
    throw new StratumError(
      'timeout',
      `${label} changes faster than it can be read: after ${tries} tries the rest still takes longer than ${options.maxPauseMs} ms`,
      {
        hint: 'Allow a longer pause (--max-pause), or commit --live',
      },
    )
  }
}

/**
 * Undefined if it took longer than the pause may last, or somebody who was not stopped wrote meanwhile. Two scans must find the same: if
 * the caller named all writers, looking is enough in the second one, for nobody can store into mapped pages; else what may be mapped is
 * read twice.
 */
async function scanWhileFrozen(
  target: Target,
  options: StillOptions,
  before: LayerScan,
): Promise<StillScan | undefined> {
  const { store, label, session } = target
  const freezers = options.findFreezers === undefined ? options.freezers : options.findFreezers()
  const frozen = stopWriters(target, { ...options, freezers })
  if (frozen === undefined) return undefined
  const endAt = frozen.since + options.maxPauseMs
  const alarm = setTimeout(() => void frozen.thaw(), Math.max(0, endAt - performance.now()))
  try {
    const scan = await session.scan(before, { endAt })
    const check = await session.scan(scan, { endAt, trustStat: freezers !== undefined })
    const isPointInTime = check.moved.length === 0 && frozen.isHeld() && performance.now() < endAt
    const pauseMs = frozen.thaw()
    return isPointInTime ? { scan: check, pauseMs, unstable: [] } : undefined
  } catch (error) {
    if (isStratumError(error, 'timeout')) return undefined
    throw error
  } finally {
    clearTimeout(alarm)
    frozen.thaw()
    markThawed(store, label)
  }
}

/** Undefined while they are being stopped for another commit. */
function stopWriters({ store, label, mounted }: Target, { freezers, maxPauseMs }: StillOptions): Frozen | undefined {
  const find = (): number[] => [...new Set(mounted.flatMap(({ device }) => findHolders(device).map(({ pid }) => pid)))]
  try {
    return freezeWriters(store, label, freezers === undefined ? { find } : { freezers }, maxPauseMs)
  } catch (error) {
    if (isStratumError(error, 'busy')) return undefined
    throw error
  }
}
