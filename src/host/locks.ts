import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno } from '../errors/errno.ts'
import { check, libc } from './libc.ts'

/** flock(2) on open descriptors. The kernel drops it when its last descriptor is closed, so a dead holder never stays. */
const flock = libc.func('int flock(int descriptor, int operation)')
const LOCK = { shared: 1, exclusive: 2, unlock: 8 } as const
const LOCK_NB = 4
const POLL_MS = 5
const POLL_MS_MAX = 50

export type LockMode = 'shared' | 'exclusive'

/** Whether the lock was there to be had. */
export function tryLock(descriptor: number, mode: LockMode): boolean {
  try {
    check(flock(descriptor, LOCK[mode] | LOCK_NB), 'flock')
    return true
  } catch (error) {
    if (isErrno(error, 'EWOULDBLOCK', 'EAGAIN')) return false
    throw error
  }
}

export function unlock(descriptor: number): void {
  check(flock(descriptor, LOCK.unlock), 'flock')
}

/** Milliseconds on a clock that only goes forward, as `performance` has them, which takes a millisecond to load. */
export function clockMs(): number {
  return process.uptime() * 1000
}

/** Waits for the lock by asking again and again (a waiting call would use up a thread of the pool). False when the time is over. */
export async function waitForLock(
  descriptor: number,
  mode: LockMode,
  limitMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const end = clockMs() + limitMs
  for (let pause = POLL_MS; ; pause = Math.min(pause * 1.5, POLL_MS_MAX)) {
    if (tryLock(descriptor, mode)) return true
    if (clockMs() >= end) return false
    await sleep(pause, undefined, signal === undefined ? {} : { signal })
  }
}

const fcntl = libc.func('int fcntl(int descriptor, int command, int argument)')
const F_SETSIG = 10
const F_SETLEASE = 1024
const F_RDLCK = 0
const F_WRLCK = 1
const F_UNLCK = 2
/** Sent when somebody opens the file while a lease is held. SIGIO, the default, would kill the process; this one is ignored. */
const SIGURG = 23

/** Whether nobody has the file open for writing or mapped so: the kernel grants a read lease then only. Dropped at once. */
export function hasNoWriter(descriptor: number): boolean {
  return probeLease(descriptor, F_RDLCK) === 'granted'
}

/**
 * Whether somebody else has the file open in any way. A mounted image is open for as long as its mount lives, wherever that is.
 * `unknown` where the file system grants no leases.
 */
export function probeOpenElsewhere(descriptor: number): 'granted' | 'open' | 'unknown' {
  return probeLease(descriptor, F_WRLCK)
}

function probeLease(descriptor: number, kind: number): 'granted' | 'open' | 'unknown' {
  try {
    check(fcntl(descriptor, F_SETSIG, SIGURG), 'fcntl')
    check(fcntl(descriptor, F_SETLEASE, kind), 'fcntl')
  } catch (error) {
    return isErrno(error, 'EAGAIN', 'EWOULDBLOCK', 'EBUSY') ? 'open' : 'unknown'
  }
  fcntl(descriptor, F_SETLEASE, F_UNLCK)
  return 'granted'
}
