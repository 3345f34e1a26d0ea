import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { run } from '../machine/run.ts'
import { say } from '../programs/cache.ts'
import { type DriverImage, driverImage } from './driver.ts'

const ROOT = path.resolve(import.meta.dirname, '../../..')
/** The commit that the last one was made on; of a merge, what it was merged into. */
const COMMIT = 'HEAD^1'

/** What somebody has installed who upgrades to this checkout: the chart and the image of the commit before. */
export interface ReleaseBefore extends Disposable {
  readonly chart: string
  readonly image: DriverImage
}

/** Undefined, and said, where this is no clone, or one without the commit before. */
export async function releaseBefore(): Promise<ReleaseBefore | undefined> {
  const commit = await git('rev-parse', '--verify', '--quiet', '--short', `${COMMIT}^{commit}`).catch(() => undefined)
  if (commit === undefined) {
    say('no commit before this one is here (a shallow clone?): the upgrade begins with the chart and image of now')
    return undefined
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'release-before-'))
  const archive = path.join(folder, 'sources.tar')
  await git('archive', '--output', archive, commit)
  await run('tar', ['-x', '-f', archive, '-C', folder])
  fs.rmSync(archive)
  const image = await driverImage(folder)
  say(`the commit before is ${commit}, its image ${image.tag}`)
  return {
    chart: path.join(folder, 'charts/stratum'),
    image,
    [Symbol.dispose]: () => fs.rmSync(folder, { recursive: true }),
  }
}

/** The clone may belong to somebody else: in CI it often does. */
async function git(...args: string[]): Promise<string> {
  return (await run('git', ['-c', 'safe.directory=*', '-C', ROOT, ...args])).trim()
}
