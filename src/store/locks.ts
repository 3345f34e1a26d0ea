import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { exists, makeDirectory, syncDirectory } from '../host/files.ts'
import { clockMs, type LockMode, unlock, waitForLock } from '../host/locks.ts'
import { statDescriptor, statIfExists } from '../host/stat.ts'
import { nodePath } from '../names/text.ts'
import type { Label } from '../names/label.ts'
import { paths, type Store } from './layout.ts'

/**
 * Two kinds of lock, always taken in this order: the label's (exclusive: whoever moves a ref of it, mounts or folds its HEAD), then the
 * store's (shared: whoever looks what is there and then writes or mounts; exclusive: the sweep of the garbage collection).
 */
export interface Lock extends Disposable {
  release(): void
}

export interface LockOptions {
  /** Milliseconds to wait. */
  limitMs?: number
  signal?: AbortSignal | undefined
}

export const LOCK_LIMIT_MS = 30_000
/** The sweep keeps newcomers waiting no longer than this. */
export const SWEEP_LIMIT_MS = 5_000

/** The store's lock. Everybody passes the gate one by one; the sweep stays in it while it waits, or it would never find the store empty. */
export async function lockStore(store: Store, mode: LockMode, options: LockOptions = {}): Promise<Lock> {
  const limitMs = options.limitMs ?? (mode === 'exclusive' ? SWEEP_LIMIT_MS : LOCK_LIMIT_MS)
  const started = clockMs()
  const gate = openLock(paths.gate(store))
  const lock = openLock(paths.lock(store))
  try {
    await acquire(gate, 'exclusive', limitMs, `the store ${store.path}`, options.signal)
    const left = Math.max(0, limitMs - (clockMs() - started))
    await acquire(lock, mode, left, `the store ${store.path}`, options.signal)
    unlock(gate)
    return held(lock)
  } catch (error) {
    fs.closeSync(lock)
    throw error
  } finally {
    fs.closeSync(gate)
  }
}

/** The lock of a label that there is. @throws not-found, also if it is removed while we wait; busy */
export async function lockLabel(store: Store, label: Label, options?: LockOptions): Promise<Lock> {
  const lock = await lockLabelIfAny(store, label, options)
  if (lock === undefined) throw noSuchLabel(label)
  return lock
}

export function noSuchLabel(label: Label): StratumError {
  return new StratumError('not-found', `there is no label ${label}`, {
    hint: 'stratum list shows the labels of the store',
    details: { label },
  })
}

/** The lock of a label that may be new: its folder is made if it is missing. @throws busy */
export async function lockNewLabel(store: Store, label: Label, options?: LockOptions): Promise<Lock> {
  for (;;) {
    if (makeDirectory(paths.label(store, label))) syncDirectory(paths.refs(store))
    const lock = await lockLabelIfAny(store, label, options)
    if (lock !== undefined) return lock // else the label was removed meanwhile
  }
}

/** The lock of a label, or nothing if the label is gone. @throws busy */
export async function lockLabelIfAny(store: Store, label: Label, options: LockOptions = {}): Promise<Lock | undefined> {
  const path = paths.labelLock(store, label)
  for (;;) {
    const lock = tryOpenLock(path)
    if (lock === undefined) return undefined
    try {
      await acquire(lock, 'exclusive', options.limitMs ?? LOCK_LIMIT_MS, label, options.signal)
    } catch (error) {
      fs.closeSync(lock)
      throw error
    }
    // The label may have been removed, and made again, while we waited for the lock of the old one.
    if (statIfExists(path)?.inode === statDescriptor(lock).inode) return held(lock)
    fs.closeSync(lock)
  }
}

function openLock(path: string): number {
  try {
    return fs.openSync(nodePath(path), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600)
  } catch (error) {
    // flock(2) asks for no more than reading: a store on read-only media can be looked at.
    if (!isErrno(error, 'EROFS') || !exists(path)) throw error
    return fs.openSync(nodePath(path), fs.constants.O_RDONLY)
  }
}

function tryOpenLock(path: string): number | undefined {
  try {
    return openLock(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

async function acquire(
  descriptor: number,
  mode: LockMode,
  limitMs: number,
  what: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (await waitForLock(descriptor, mode, limitMs, signal)) return
  const { describeProcesses, lockHolders } = await import('../host/lock-holders.ts')
  const holders = lockHolders(descriptor)
  const by = holders.length > 0 ? ` by ${describeProcesses(holders)}` : ''
  throw new StratumError('busy', `${what} is locked${by}; waited ${(limitMs / 1000).toFixed(1)} s`, {
    hint: 'Try again when that is done. The lock goes with its holder: there is nothing to unlock by hand',
    details: { holders: holders.map(({ pid }) => String(pid)) },
  })
}

function held(descriptor: number): Lock {
  let open = true
  const release = (): void => {
    if (open) fs.closeSync(descriptor)
    open = false
  }
  return { release, [Symbol.dispose]: release }
}
