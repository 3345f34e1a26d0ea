import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { waitFor } from '../support/wait.ts'
import { type Cluster, files } from './layout.ts'

const KEEP_RUNNING = path.join(import.meta.dirname, 'keep-running.sh')

/** Where programs write down their process ids, and where tests say that one of them stays down. */
export function records(cluster: Cluster): string {
  return path.join(cluster.folder, 'run')
}

export function environment(cluster: Cluster): Record<string, string> {
  return { PATH: process.env.PATH ?? '', RECORDS: records(cluster), LOGS: path.join(cluster.folder, 'log') }
}

/** Starts a program of the control plane; it is started again when it ends. */
export function keepRunning(cluster: Cluster, name: string, program: string, args: readonly string[]): void {
  startInBackground('sh', [KEEP_RUNNING, name, program, ...args], environment(cluster))
}

/** Gives the process id; the process outlives nothing, because everything is in the pid namespace of the cluster. */
export function startInBackground(program: string, args: readonly string[], env: Record<string, string>): number {
  const log = env.LOGS === undefined ? 'ignore' : fs.openSync(path.join(env.LOGS, 'start.log'), 'a')
  const child = spawn(program, args, { stdio: ['ignore', log, log], env, detached: true })
  if (log !== 'ignore') fs.closeSync(log)
  child.unref()
  if (child.pid === undefined) throw new Error(`${program} could not be started`)
  return child.pid
}

/** The process id of a program that is kept running, once it runs. */
export async function processOf(cluster: Cluster, name: string): Promise<number> {
  const file = files.processId(records(cluster), name)
  const text = await waitFor(`${name} to run`, () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined))
  return Number(text)
}

/** Kills a program as a crash would; it comes back by itself. `name` as in the log's name: `kube-apiserver`, `etcd`. */
export async function crash(cluster: Cluster, name: string): Promise<void> {
  process.kill(await processOf(cluster, name), 'SIGKILL')
}

/** Kills a program and keeps it down until `start` is called. */
export async function stop(cluster: Cluster, name: string): Promise<void> {
  fs.writeFileSync(path.join(records(cluster), `${name}.stopped`), '')
  await crash(cluster, name)
}

export function start(cluster: Cluster, name: string): void {
  fs.rmSync(path.join(records(cluster), `${name}.stopped`), { force: true })
}
