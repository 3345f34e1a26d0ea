import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** Where everything lies that takes long to build and that is the same in every run. */
export const CACHE = path.resolve(
  process.env.STRATUM_TEST_CACHE ??
    path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'stratum-tests'),
)

/** A folder of the cache that is named after what its content is made from: a change of that makes a new one. */
export function cacheFolder(name: string, madeFrom: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256')
  for (const part of madeFrom) hash.update(part).update('\0')
  return path.join(CACHE, `${name}-${hash.digest('hex').slice(0, 16)}`)
}

/** One line about what is going on, because some steps take minutes. */
export function say(text: string): void {
  process.stderr.write(`${new Date().toTimeString().slice(0, 8)} ${text}\n`)
}

/** Makes `file` unless it is there; what `make` leaves behind when it is interrupted is never taken for the file. */
export async function once(file: string, make: (unfinished: string) => Promise<unknown>): Promise<string> {
  if (fs.existsSync(file)) return file
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const unfinished = `${file}.unfinished-${process.pid}`
  await make(unfinished)
  fs.renameSync(unfinished, file)
  return file
}
