import { spawn } from 'node:child_process'
import path from 'node:path'
import type { Lab } from './lab.ts'

const BINARY = path.resolve(import.meta.dirname, '../../bin/stratum')

export interface CliResult {
  readonly pid: number
  /** Exit status, or null for a process that was killed. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command line in a process of its own, on the store of a lab. */
export function runCli(
  lab: Lab,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  const child = spawn(BINARY, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, STRATUM_STORE: path.join(lab.folder, 'store'), ...env },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', status => resolve({ pid: child.pid ?? 0, status, stdout, stderr }))
  })
}
