import path from 'node:path'
import { driverImage } from './images/driver.ts'
import { smallImages } from './images/small.ts'
import { runInCluster } from './machine/enter.ts'
import { buildEverything } from './programs/build.ts'

/**
 * The cluster tests: `npm run test:cluster`, with words to choose files as with `npm test`. Builds what the cluster is made of (once: it
 * stays in the cache), starts it in namespaces of its own, runs the test files one after the other, and takes everything down.
 *
 * `npm run cluster` does the same without tests: the cluster stays until it is interrupted, with a shell to look around.
 */
const byHand = process.argv[2] === '--by-hand'

await buildEverything()
const driver = await driverImage()
const images = [...(await smallImages()), driver.file]
const script = path.join(import.meta.dirname, byHand ? 'by-hand.ts' : 'run-tests.ts')
process.exitCode = await runInCluster(script, [images.join(','), driver.tag, ...process.argv.slice(byHand ? 3 : 2)])
