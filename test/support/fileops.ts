import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'

/** One file operation as fileops.py takes it, or null where none fitted. */
export type FileOperation = readonly [name: string, ...values: unknown[]] | null

export interface Done {
  readonly done: FileOperation[]
  /** What HEAD refused and the plain copy was spared. */
  readonly refused: string[]
  /** An operation whose outcome in HEAD was another than in the plain copy. */
  readonly differs?: [FileOperation, string[]]
}

interface Run {
  readonly count?: number
  readonly ops?: readonly FileOperation[]
  /** Files may stay open and mapped between operations. */
  readonly keeps?: boolean
}

/** The program that does file operations, the same ones in several directories. */
export interface FileOperations extends Disposable {
  /** Fills a plain directory. */
  begin(plain: string, seed: number, run: Run): Promise<Done>
  /** From now on operations are done in HEAD first and then in the plain directory. */
  useHead(head: string): Promise<void>
  run(run: Run): Promise<Done>
  /** What two directories do not have in common, by path. */
  compare(a: string, b: string): Promise<unknown[]>
}

export function startFileOperations(): FileOperations {
  const child: ChildProcess = spawn('python3', [path.join(import.meta.dirname, 'fileops.py')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  const ask = async (request: Record<string, unknown>): Promise<Done & { differences?: unknown[] }> => {
    child.stdin?.write(`${JSON.stringify(request)}\n`)
    const { value, done } = await lines.next()
    if (done === true) throw new Error('fileops.py ended')
    return JSON.parse(value) as Done
  }
  return {
    begin: (plain, seed, run) => ask({ command: 'begin', plain, seed, ...run }),
    async useHead(head) {
      await ask({ command: 'head', head })
    },
    run: run => ask({ command: 'run', ...run }),
    async compare(a, b) {
      return (await ask({ command: 'compare', roots: [a, b] })).differences ?? []
    },
    [Symbol.dispose]: () => void child.kill(),
  }
}
