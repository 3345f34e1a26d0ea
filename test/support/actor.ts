import { spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'

/** A process of its own that runs Python statements one by one: it holds files, maps them, locks them, as a user's program does. */
export interface Actor extends AsyncDisposable {
  readonly pid: number
  /** Runs statements, or evaluates an expression. @throws with the name of the errno */
  run(code: string): Promise<unknown>
  /** Ends it, and waits until it is gone. */
  stop(): Promise<void>
}

interface ActorOptions {
  /** In a mount namespace of its own, which starts with a copy of what is mounted now. */
  readonly ownNamespace?: boolean
  readonly env?: Readonly<Record<string, string>>
}

export async function startActor({ ownNamespace = false, env = {} }: ActorOptions = {}): Promise<Actor> {
  const program = ['python3', path.join(import.meta.dirname, 'actor.py')]
  const [command, ...args] = ownNamespace ? ['unshare', '-m', '--propagation', 'private', ...program] : program
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/', env: { ...process.env, ...env } })
  const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const run = async (code: string): Promise<unknown> => {
    child.stdin.write(`${JSON.stringify(code)}\n`)
    const { value, done } = await lines.next()
    if (done === true) throw new Error('the actor ended')
    const answer = JSON.parse(value) as { value?: unknown; error?: string }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.value
  }
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await gone
  }
  const pid = (await run('os.getpid()')) as number
  return { pid, run, stop, [Symbol.asyncDispose]: stop }
}
