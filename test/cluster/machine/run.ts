import { execa } from 'execa'

export interface RunOptions {
  /** What the program reads on standard input; otherwise nothing. */
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** Runs a program and gives what it printed. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await execa(program, args, { input: '', ...options, reject: false, maxBuffer: 256 * 1024 * 1024 })
  if (result.failed) throw new Error(`${result.shortMessage}\n${result.stderr}`)
  return result.stdout
}

/** `{ name: 'value', on: true }` as `--name=value --on=true`. */
export function flags(values: Readonly<Record<string, string | boolean>>): string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${String(value)}`)
}
