import { setTimeout as sleep } from 'node:timers/promises'
import type { LayerScan } from '../capture/scan-layer.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { isErrno } from '../errors/errno.ts'
import { commandOf, describeProcesses } from '../host/lock-holders.ts'
import type { Freezer } from '../host/cgroup.ts'
import { setSuperblockReadOnly } from '../host/mount-api.ts'
import type { Mounted } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import type { Store } from '../store/layout.ts'
import type { CaptureSession } from './capture-session.ts'
import { type FreezePlan, freezeWriters, markReadOnly, markThawed, planFreeze } from './freeze.ts'
import { describeHolders, findHolders } from './holders.ts'

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
  /** Where HEAD is mounted, as far as it is seen. */
  readonly mounted: readonly Mounted[]
  readonly session: CaptureSession
  readonly signal: AbortSignal | undefined
}

const LIVE_SCANS_MAX = 10
const LIVE_PAUSE_MS = 20

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

/** Nobody can write: the kernel makes the superblock read-only only then. */
async function scanIdle({ store, label, mounted, session }: Target): Promise<StillScan> {
  const first = await session.scan()
  const [mount] = mounted
  if (mount === undefined) return { scan: await session.scan(first), pauseMs: 0, unstable: [] }
  markReadOnly(store, label, mount.mountpoint)
  const since = performance.now()
  try {
    makeReadOnly(label, mount)
    try {
      return { scan: await session.scan(first), pauseMs: performance.now() - since, unstable: [] }
    } finally {
      setSuperblockReadOnly(mount.mountpoint, false)
    }
  } finally {
    markThawed(store, label)
  }
}

function makeReadOnly(label: Label, { mountpoint, device }: Mounted): void {
  try {
    setSuperblockReadOnly(mountpoint, true)
  } catch (error) {
    if (!isErrno(error, 'EBUSY')) throw error
    const writers = findHolders(device).filter(({ writes }) => writes)
    const who =
      writers.length > 0
        ? describeHolders(writers)
        : 'somebody who is not to be seen from here (an unlinked file, another namespace)'
    throw new StratumError('in-use', `${label} is being written to: ${who}`, {
      hint: 'Commit with --live (each file whole) or --freeze (a point in time), or when they are done',
      details: { holders: writers.map(({ pid }) => String(pid)) },
    })
  }
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
    signal?.throwIfAborted()
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

/** Undefined if it took longer than the pause may last, or somebody who was not stopped wrote meanwhile. */
async function scanWhileFrozen(
  target: Target,
  options: StillOptions,
  before: LayerScan,
): Promise<StillScan | undefined> {
  const { store, label, session } = target
  const frozen = freezeWriters(store, label, planWriters(target, options), options.maxPauseMs)
  const endAt = frozen.since + options.maxPauseMs
  const alarm = setTimeout(() => void frozen.thaw(), Math.max(0, endAt - performance.now()))
  try {
    const scan = await session.scan(before, { endAt })
    const check = await session.scan(scan, { endAt, trustStat: true })
    const inTime = performance.now() < endAt
    const pauseMs = frozen.thaw()
    return check.moved.length === 0 && inTime ? { scan: check, pauseMs, unstable: [] } : undefined
  } catch (error) {
    if (isStratumError(error, 'timeout')) return undefined
    throw error
  } finally {
    clearTimeout(alarm)
    frozen.thaw()
    markThawed(store, label)
  }
}

function planWriters({ label, mounted }: Target, { freezers }: StillOptions): FreezePlan {
  if (freezers !== undefined) return { freezers, moves: [] }
  const pids = [...new Set(mounted.flatMap(({ device }) => findHolders(device).map(({ pid }) => pid)))]
  const { impossible, ...plan } = planFreeze(pids)
  if (impossible.length === 0) return plan
  throw new StratumError(
    'unsupported',
    `${describeProcesses(impossible.map(pid => ({ pid, command: commandOf(pid) })))} cannot be stopped: no cgroup freezer`,
    {
      hint: `Commit ${label} with --live, or see: stratum doctor`,
    },
  )
}
