import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { STRATUM } from './peers.ts'

/** A command line of Stratum on this store. */
export function stratum(store: string, ...args: readonly string[]): string[] {
  return [STRATUM, ...args, '--store', store]
}

/** Runs one without taking its time; its output is one JSON object. @throws if it fails */
export function call(store: string, ...args: readonly string[]): Record<string, unknown> {
  const [program, ...rest] = stratum(store, ...args, '--json')
  const output = execFileSync(program, rest, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return JSON.parse(output.trimEnd().split('\n').at(-1) as string) as Record<string, unknown>
}

/** Mounts a reference until the end of the scope. */
export function mounted(store: string, reference: string, mountpoint: string): { path: string } & Disposable {
  fs.mkdirSync(mountpoint, { recursive: true })
  call(store, 'mount', reference, mountpoint)
  return {
    path: mountpoint,
    [Symbol.dispose]() {
      call(store, 'unmount', mountpoint)
      fs.rmdirSync(mountpoint)
    },
  }
}
