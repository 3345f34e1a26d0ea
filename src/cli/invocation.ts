import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Context, Progress } from '../repository/context.ts'
import type { Store } from '../store/layout.ts'
import { fromUser } from '../names/text.ts'

/** Options that every command has. */
export interface GlobalOptions {
  readonly store: string
  readonly json: boolean
  readonly quiet: boolean
  /** Seconds. */
  readonly lockTimeout: number
}

/** One call of a command: its arguments and options as the user gave them, and what it may use of the outside. */
export interface Invocation<Options = Record<string, unknown>> {
  readonly args: readonly string[]
  readonly options: Options & GlobalOptions
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal
  readonly onProgress: (progress: Progress) => void
  /** Asks on the terminal; undefined where there is none. */
  readonly confirm: (question: string) => Promise<boolean | undefined>
}

/** What a command found or did: said once for people and once for programs. */
export interface Outcome {
  /** For `--json`: one object, without the schema and command that are added to each. */
  readonly json: Readonly<Record<string, unknown>>
  /** For `--json` of long lists: an object for each line, before the one above, which then is the summary. */
  readonly jsonLines?: Iterable<Readonly<Record<string, unknown>>>
  /** Data for people: stdout. */
  readonly text?: string | Iterable<string>
  /** The one line that `-q` leaves of it. */
  readonly quiet?: string
  /** What else is to be said: stderr, unless `-q`. */
  readonly notes?: readonly string[]
  /** What must be said even with `-q`: stderr. */
  readonly warnings?: readonly string[]
  /** Other than 0 for what is no error: partial results, differences. */
  readonly exitCode?: number
}

export type Command<Options = Record<string, never>> = (invocation: Invocation<Options>) => Promise<Outcome>

interface OpenOptions {
  /** Make the store if there is none. */
  create?: boolean
}

/** The store that the options name, and who uses it. */
export async function openContext<Options>(
  { options, signal, onProgress }: Invocation<Options>,
  open: OpenOptions = {},
): Promise<Context> {
  const { openStore } = await import('../store/open-store.ts')
  const store: Store = openStore(absolute(options.store), open)
  return { store, actor: actor(), signal, onProgress, lockLimitMs: options.lockTimeout * 1000 }
}

/** A path from the command line as latin1 text, absolute, symlinks resolved where it exists. */
export function absolute(text: string): string {
  const full = path.resolve(text)
  try {
    return fromUser(fs.realpathSync(full))
  } catch {
    const parent = path.dirname(full)
    return parent === full ? fromUser(full) : `${absolute(parent).replace(/\/$/, '')}/${fromUser(path.basename(full))}`
  }
}

/** The user who called, also through sudo. */
export function callerUid(env: NodeJS.ProcessEnv = process.env): number {
  const uid = Number(env.SUDO_UID)
  return env.SUDO_UID !== undefined && Number.isSafeInteger(uid) && uid >= 0 ? uid : (process.getuid?.() ?? 0)
}

function actor(env: NodeJS.ProcessEnv = process.env): string {
  if (env.SUDO_USER) return env.SUDO_USER
  try {
    return os.userInfo().username
  } catch {
    return String(process.getuid?.() ?? 'unknown')
  }
}
