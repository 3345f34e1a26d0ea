import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** Helm: $HELM, the one that the cluster tests built, or the one of the path. @throws Error that says how to get it */
export function findHelm(): string {
  if (process.env.HELM !== undefined) return process.env.HELM
  const cache = process.env.STRATUM_TEST_CACHE ?? path.join(os.homedir(), '.cache/stratum-tests')
  const built = fs.globSync(`${cache}/kubernetes-*/helm`)
  const onPath = (process.env.PATH ?? '').split(':').map(folder => path.join(folder, 'helm'))
  const found = [...built, ...onPath].find(file => fs.existsSync(file))
  if (found === undefined)
    throw new Error('there is no helm: set HELM, or run npm run test:cluster once, which builds it from its Go module')
  return found
}

/** What Helm prints. @throws Error with what it complained of */
export function helm(args: readonly string[]): string {
  try {
    return execFileSync(findHelm(), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 })
  } catch (error) {
    throw new Error(String((error as { stderr?: string }).stderr ?? error), { cause: error })
  }
}
