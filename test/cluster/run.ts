import path from 'node:path'
import { releaseBefore } from './images/before.ts'
import { driverImage } from './images/driver.ts'
import { smallImages } from './images/small.ts'
import { runInCluster } from './machine/enter.ts'
import { conformanceImages } from './images/conformance.ts'
import { buildEverything, buildPrograms } from './programs/build.ts'
import { CONFORMANCE } from './programs/programs.ts'

/**
 * The cluster tests: `npm run test:cluster`, with words to choose files as with `npm test`. Builds what the cluster is made of (once: it
 * stays in the cache), starts it in namespaces of its own, runs the test files one after the other, and takes everything down.
 *
 * `npm run cluster` does the same without tests: the cluster stays until it is interrupted, with a shell to look around.
 * `npm run test:conformance` runs Kubernetes' own storage tests on it: docs/conformance.md.
 */
const MODES: Record<string, string> = {
  '--by-hand': 'by-hand.ts',
  '--conformance': 'conformance/run-conformance.ts',
}
/** The test file that wants the release before. */
const UPGRADES = 'install.test.ts'
const [first, ...rest] = process.argv.slice(2)
const mode = MODES[first ?? '']
const words = mode === undefined ? process.argv.slice(2) : rest

await buildEverything()
const driver = await driverImage()
const images = [...(await smallImages()), driver.file]
if (first === '--conformance') {
  await buildPrograms(CONFORMANCE)
  images.push(...(await conformanceImages()))
}
const isUpgraded = mode === undefined && (words.length === 0 || words.some(word => UPGRADES.includes(word)))
using before = isUpgraded ? await releaseBefore() : undefined
if (before !== undefined) {
  if (!images.includes(before.image.file)) images.push(before.image.file)
  Object.assign(process.env, { STRATUM_CHART_BEFORE: before.chart, STRATUM_IMAGE_TAG_BEFORE: before.image.tag })
}
const script = path.join(import.meta.dirname, mode ?? 'run-tests.ts')
process.exitCode = await runInCluster(script, [images.join(','), driver.tag, ...words])
