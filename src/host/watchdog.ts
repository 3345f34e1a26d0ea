import { spawn } from 'node:child_process'
import type { Freezer } from './cgroup.ts'

/** Waits, then lets every group go on whose file is named: a shell is there in a millisecond, and needs nothing of ours. */
const SCRIPT = `sleep "$1"; shift
for file; do case $file in *.state) echo THAWED >"$file" ;; *) echo 0 >"$file" ;; esac; done 2>/dev/null`

/**
 * Starts a process that lets groups go on after so long, whatever becomes of this one: whoever stops pods and is killed must not leave them
 * standing. To be disposed of when everybody goes on.
 */
export function startWatchdog(freezers: readonly Freezer[], milliseconds: number): Disposable {
  const files = freezers.map(({ version, path }) => `${path}/${version === 1 ? 'freezer.state' : 'cgroup.freeze'}`)
  const seconds = (milliseconds / 1000).toFixed(3)
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'stratum-watchdog', seconds, ...files], {
    detached: true, // a signal for our group is none for it
    stdio: 'ignore',
    cwd: '/',
  })
  child.once('error', () => undefined) // no shell: the next start lets everybody go on
  child.unref()
  return {
    [Symbol.dispose]() {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // it is done already
      }
    },
  }
}
