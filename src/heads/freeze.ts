import fs from 'node:fs'
import { StratumError } from '../errors/stratum-error.ts'
import {
  createGroup,
  dissolveGroup,
  type Freezer,
  freeze,
  freezerOf,
  groupHolds,
  isFrozen,
  isTopGroup,
  lockGroup,
  moveProcess,
  thaw,
} from '../host/cgroup.ts'
import { startWatchdog } from '../host/watchdog.ts'
import { commandOf, describeProcesses, isAlive } from '../host/lock-holders.ts'
import { setSuperblockReadOnly } from '../host/mount-api.ts'
import { randomHex } from '../host/random.ts'
import type { Label } from '../names/label.ts'
import { type HeadRecord, noteStill, readHead, type StandingStill } from '../refs/head-file.ts'
import type { Store } from '../store/layout.ts'
import { headMounts, isOnTop } from './head-mounts.ts'
import { isSuperblockGone } from './probe-superblock.ts'

/** Groups that were made to hold processes which cannot be stopped where they are; they vanish when everybody goes on. */
const OWN_GROUP = 'stratum-freeze'
/** So often it is looked again who writes, before anybody stands still: what forks while it is moved leaves its child behind. */
const ROUNDS_MAX = 8

/** Who is to stand still: groups of all who can write, if the caller knows them, or whoever is found. */
export type Writers =
  | { readonly freezers: readonly Freezer[] }
  | {
      /** Processes that could write, as far as they can be seen. */
      find(): readonly number[]
    }

/** Processes that stand still until `thaw`, which may be called again. */
export interface Frozen {
  readonly since: number
  /** Whether all of them still do: an orchestrator may have let somebody go on. */
  isHeld(): boolean
  /** Milliseconds that they stood still. */
  thaw(): number
}

/**
 * Stops processes. That they may be standing still is written to head.toml before the first one is touched: whoever comes after a crash
 * lets them go on first, and a process of its own does after the limit. @throws timeout (somebody cannot be stopped), busy (somebody else freezes them), unsupported (no freezer);
 * everybody goes on then
 */
export function freezeWriters(store: Store, label: Label, writers: Writers, limitMs: number): Frozen {
  const groups = new Map<string, Freezer>()
  const locked = new Map<Freezer, number>()
  let since: number | undefined
  let pauseMs: number | undefined
  let watchdog: Disposable | undefined
  const thawAll = (): number => {
    if (pauseMs !== undefined) return pauseMs
    process.removeListener('SIGTSTP', runOn)
    // A group that another commit stops is not ours to let go on.
    const ours = [...groups.values()].filter(group => locked.has(group) || isOwn(group))
    let stoodMs = 0
    releaseAll(ours, () => (stoodMs = since === undefined ? 0 : performance.now() - since))
    pauseMs = stoodMs
    watchdog?.[Symbol.dispose]()
    for (const lock of locked.values()) fs.closeSync(lock)
    return pauseMs
  }
  try {
    gather(store, label, writers, groups)
    for (const freezer of outermost([...groups.values()])) lockUnlessGone(freezer, locked)
    const freezers = [...locked.keys()]
    if (freezers.length > 0) watchdog = startWatchdog(freezers, limitMs)
    since = performance.now()
    process.on('SIGTSTP', runOn)
    for (const freezer of freezers) freeze(freezer, Math.max(1, limitMs - (performance.now() - since)))
    return { since, isHeld: () => pauseMs === undefined && freezers.every(isFrozen), thaw: thawAll }
  } catch (error) {
    thawAll()
    markThawed(store, label)
    throw error
  }
}

/** Ctrl-Z would leave the others standing for as long as we do. */
function runOn(): void {}

/** Finds the groups of all writers, moves those who cannot be stopped where they are, and looks again until nobody is new. */
function gather(store: Store, label: Label, writers: Writers, groups: Map<string, Freezer>): void {
  if ('freezers' in writers) {
    for (const freezer of writers.freezers) groups.set(freezer.path, freezer)
    if (groups.size > 0) noteFreezers(store, label, groups)
    return
  }
  const name = `${OWN_GROUP}-${process.pid}-${randomHex(3)}`
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    const { freezers, moves, impossible } = planFreeze(writers.find(), name)
    if (impossible.length > 0) throw cannotStop(label, impossible)
    const isNew = freezers.filter(({ path }) => !groups.has(path))
    if (isNew.length + moves.length === 0) return
    for (const freezer of isNew) groups.set(freezer.path, freezer)
    noteFreezers(store, label, groups)
    for (const { pid, to } of moves) {
      createGroup({ version: to.version, path: parentPath(to.path) }, name)
      moveProcess(pid, to)
    }
  }
}

/** Processes that are to stand still for a moment. */
export interface FreezePlan {
  readonly freezers: readonly Freezer[]
  /** Processes that have to be moved to a group of ours first. */
  readonly moves: readonly { readonly pid: number; readonly to: Freezer }[]
  /** Processes without any freezer. */
  readonly impossible: readonly number[]
}

/**
 * How to stop these processes: the whole group of each, where that is not the top one and does not hold ourselves; else it alone, in a
 * group of its own inside, called `name`.
 */
export function planFreeze(pids: readonly number[], name: string, own = process.pid): FreezePlan {
  const freezers = new Map<string, Freezer>()
  const moves: { pid: number; to: Freezer }[] = []
  const impossible: number[] = []
  for (const pid of pids) {
    const group = freezerOf(pid)
    if (group === undefined) {
      if (isAlive(pid)) impossible.push(pid)
      continue
    }
    const movable = isTopGroup(group) || groupHolds(group, own)
    const target = movable ? { ...group, path: `${group.path}/${name}` } : group
    freezers.set(target.path, target)
    if (movable) moves.push({ pid, to: target })
  }
  return { freezers: [...freezers.values()], moves, impossible }
}

function cannotStop(label: Label, pids: readonly number[]): StratumError {
  const who = describeProcesses(pids.map(pid => ({ pid, command: commandOf(pid) })))
  return new StratumError('unsupported', `${who} cannot be stopped: no cgroup freezer`, {
    hint: `Commit ${label} with --live, or see: stratum doctor`,
  })
}

/** A group that is gone has nobody in it. @throws busy */
function lockUnlessGone(freezer: Freezer, locked: Map<Freezer, number>): void {
  const lock = lockGroup(freezer)
  if (lock === 'taken') throw new StratumError('busy', `${freezer.path} is being stopped for another commit`)
  if (lock !== 'gone') locked.set(freezer, lock)
}

/** A group inside another that is frozen needs no freezing of its own. Always in one order. */
function outermost(freezers: Freezer[]): Freezer[] {
  return freezers
    .filter(({ path }) => !freezers.some(other => path !== other.path && path.startsWith(`${other.path}/`)))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

function noteFreezers(store: Store, label: Label, groups: ReadonlyMap<string, Freezer>): void {
  note(store, label, still => ({
    freezers: [...groups.values()].map(format),
    readOnlyMount: still?.readOnlyMount ?? '',
  }))
}

/** Notes that a superblock is about to be made read-only for a moment. */
export function markReadOnly(store: Store, label: Label, mountpoint: string): void {
  note(store, label, still => ({ freezers: still?.freezers ?? [], readOnlyMount: mountpoint }))
}

/** To be called when everybody goes on again. */
export function markThawed(store: Store, label: Label): void {
  if (readHead(store, label)?.still !== undefined) note(store, label, () => undefined)
}

function note(
  store: Store,
  label: Label,
  change: (still: StandingStill | undefined) => StandingStill | undefined,
): void {
  const head = readHead(store, label)
  if (head !== undefined) noteStill(store, label, head, change(head.still))
}

/** Lets everybody go on whom a committer that died left standing. */
export function thawHead(store: Store, label: Label): void {
  const head = readHead(store, label)
  if (head?.still === undefined) return
  releaseAll(head.still.freezers.map(parse).filter(freezer => freezer !== undefined))
  // In the middle of a fold the old superblock stays as it is: what would be written to it now, nobody would see again.
  if (head.state.kind === 'folding' || head.still.readOnlyMount === '' || makeWritable(store, label, head))
    markThawed(store, label)
  else note(store, label, still => ({ freezers: [], readOnlyMount: still?.readOnlyMount ?? '' }))
}

/** False if HEAD lives where it cannot be seen from here: whoever sees it has to do it. */
function makeWritable(store: Store, label: Label, head: HeadRecord): boolean {
  const mounts = headMounts(store, label).filter(({ generation }) => generation === head.generation)
  const mounted = mounts.find(isOnTop)
  if (mounted !== undefined) setSuperblockReadOnly(mounted.mountpoint, false)
  return mounted !== undefined || isSuperblockGone(store, label, head)
}

/** Everybody goes on before anything else is tried, and that includes the removal of groups of ours, which takes some 20 ms. */
function releaseAll(freezers: readonly Freezer[], onThawed: () => void = () => undefined): void {
  const failures: unknown[] = []
  const tryEach = (release: (freezer: Freezer) => void): void => {
    for (const freezer of freezers) {
      try {
        release(freezer)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  tryEach(thaw)
  onThawed()
  tryEach(dissolveOwn)
  if (failures.length > 0) throw failures[0]
}

function dissolveOwn(freezer: Freezer): void {
  if (isOwn(freezer)) dissolveGroup(freezer)
}

function isOwn({ path }: Freezer): boolean {
  return path.includes(`/${OWN_GROUP}-`)
}

function parentPath(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

function format({ version, path }: Freezer): string {
  return `v${version}:${path}`
}

function parse(text: string): Freezer | undefined {
  const [, version, path] = /^v([12]):(\/.*)$/.exec(text) ?? []
  return path === undefined ? undefined : { version: version === '1' ? 1 : 2, path }
}
