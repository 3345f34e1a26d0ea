import { errorOf } from './libc.ts'
import fs from 'node:fs'
import os from 'node:os'

/**
 * Every call in this folder that changes something names itself here first. Tests let the process die, stop or fail at the n-th such
 * call (`STRATUM_FAULT=kill@17`, `stop@17`, `ENOSPC@17`), count them (`count@FILE`),
 * or write down each before it is made (`note@FILE`). Without the variable nothing happens.
 */
export interface Fault {
  action: string
  at: number
  /** Where to count or note. */
  file: string
  /** Calls so far, of all threads. */
  counter: Int32Array
}

let fault: Fault | undefined

export function step(call: string): void {
  if (fault !== undefined) trigger(fault, call)
}

/** Sets the fault that the environment asks for; `inherited` is that of the thread that started this one. */
export function armFaults(text: string | undefined, inherited?: Fault): void {
  if (inherited !== undefined) fault = inherited
  const [action, at] = (text ?? '').split('@')
  if (inherited !== undefined || at === undefined) return
  fault = { action, at: Number(at), file: at, counter: new Int32Array(new SharedArrayBuffer(4)) }
  if (action === 'count') process.once('exit', () => fs.writeFileSync(at, String(stepsTaken())))
}

/** For the threads that this one starts. */
export function armedFault(): Fault | undefined {
  return fault
}

/** How many changing calls there were. */
export function stepsTaken(): number {
  return fault === undefined ? 0 : Atomics.load(fault.counter, 0)
}

function trigger({ action, at, file, counter }: Fault, call: string): void {
  const number = Atomics.add(counter, 0, 1) + 1
  if (action === 'note') fs.appendFileSync(file, `step ${call}\n`)
  if (number !== at) return
  if (action === 'kill') process.kill(process.pid, 'SIGKILL')
  else if (action === 'stop') process.kill(process.pid, 'SIGSTOP')
  else throw errorOf(os.constants.errno[action as keyof typeof os.constants.errno] ?? 5, call)
}
