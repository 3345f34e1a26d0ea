import {
  createGroup,
  dissolveGroup,
  type Freezer,
  freeze,
  freezerOf,
  groupHolds,
  isTopGroup,
  moveProcess,
  thaw,
} from '../host/cgroup.ts'
import { setSuperblockReadOnly } from '../host/mount-api.ts'
import { listMounted } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import { readHead, writeHead } from '../refs/head-file.ts'
import type { Store } from '../store/layout.ts'

/** Groups that were made to hold processes which cannot be stopped where they are; they vanish when everybody goes on. */
const OWN_GROUP = 'stratum-freeze'

/** Processes that are to stand still for a moment. */
export interface FreezePlan {
  readonly freezers: readonly Freezer[]
  /** Processes that have to be moved to a group of ours first, by group. */
  readonly moves: readonly { readonly pid: number; readonly to: Freezer }[]
}

/**
 * How to stop these processes: the whole group of each, where that is not the top one and does not hold ourselves; else it alone, in a
 * group of its own inside. Processes without any freezer are returned as `impossible`.
 */
export function planFreeze(
  pids: readonly number[],
  own = process.pid,
): FreezePlan & { readonly impossible: readonly number[] } {
  const freezers = new Map<string, Freezer>()
  const moves: { pid: number; to: Freezer }[] = []
  const impossible: number[] = []
  for (const pid of pids) {
    const group = freezerOf(pid)
    if (group === undefined) {
      impossible.push(pid)
      continue
    }
    const movable = isTopGroup(group) || groupHolds(group, own)
    const target = movable ? { ...group, path: `${group.path}/${OWN_GROUP}-${own}` } : group
    freezers.set(target.path, target)
    if (movable) moves.push({ pid, to: target })
  }
  return { freezers: outermost([...freezers.values()]), moves, impossible }
}

/** A group inside another that is frozen needs no freezing of its own. */
function outermost(freezers: Freezer[]): Freezer[] {
  return freezers.filter(
    ({ path }) => !freezers.some(other => path !== other.path && path.startsWith(`${other.path}/`)),
  )
}

/** Processes that stand still until `thaw`, which may be called again. */
export interface Frozen {
  readonly since: number
  /** Milliseconds that they stood still. */
  thaw(): number
}

/**
 * Stops processes. That they may be standing still is written to head.toml before the first one is touched: whoever comes after a crash
 * lets them go on first. @throws timeout; everybody goes on then
 */
export function freezeWriters(store: Store, label: Label, plan: FreezePlan, limitMs: number): Frozen {
  const head = readHead(store, label)
  if (head !== undefined && plan.freezers.length > 0) {
    writeHead(store, label, {
      ...head,
      still: { freezers: plan.freezers.map(format), readOnlyMount: head.still?.readOnlyMount ?? '' },
    })
  }
  for (const { pid, to } of plan.moves) {
    createGroup({ version: to.version, path: parentPath(to.path) }, to.path.slice(parentPath(to.path).length + 1))
    moveProcess(pid, to)
  }
  const since = performance.now()
  let pauseMs: number | undefined
  const frozen: Frozen = {
    since,
    thaw: () => {
      if (pauseMs === undefined) {
        for (const freezer of plan.freezers) release(freezer)
        pauseMs = performance.now() - since
      }
      return pauseMs
    },
  }
  try {
    for (const freezer of plan.freezers) freeze(freezer, Math.max(1, limitMs - (performance.now() - since)))
    return frozen
  } catch (error) {
    frozen.thaw()
    markThawed(store, label)
    throw error
  }
}

/** To be called when everybody goes on again. */
export function markThawed(store: Store, label: Label): void {
  const head = readHead(store, label)
  if (head?.still !== undefined) writeHead(store, label, { ...head, still: undefined })
}

/** Notes that a superblock is about to be made read-only for a moment. */
export function markReadOnly(store: Store, label: Label, mountpoint: string): void {
  const head = readHead(store, label)
  if (head !== undefined)
    writeHead(store, label, { ...head, still: { freezers: head.still?.freezers ?? [], readOnlyMount: mountpoint } })
}

/** Lets everybody go on whom a committer that died left standing. */
export function thawHead(store: Store, label: Label): void {
  const head = readHead(store, label)
  if (head?.still === undefined) return
  for (const text of head.still.freezers) {
    const freezer = parse(text)
    if (freezer !== undefined) release(freezer)
  }
  // In the middle of a fold the old superblock stays as it is: what would be written to it now, nobody would see again.
  if (head.state.kind === 'clean') makeWritable(store, label, head.still.readOnlyMount)
  markThawed(store, label)
}

function makeWritable(store: Store, label: Label, mountpoint: string): void {
  const isHead = listMounted(store).some(
    mounted => mounted.mountpoint === mountpoint && mounted.label === label && mounted.generation !== undefined,
  )
  if (isHead) setSuperblockReadOnly(mountpoint, false)
}

function release(freezer: Freezer): void {
  thaw(freezer)
  if (freezer.path.includes(`/${OWN_GROUP}-`)) dissolveGroup(freezer)
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
