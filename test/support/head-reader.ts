import { once } from 'node:events'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseReference } from '../../src/names/reference.ts'
import { diffTrees } from '../../src/repository/diff.ts'
import { readStatus } from '../../src/repository/status.ts'
import { openLab } from './lab.ts'

/**
 * Looks at HEAD of `app` again and again, as `stratum cat`, `diff` and `status` do, until its input ends: `number` only ever grows in it.
 * Prints a dot for each look; ends with an error at the first that saw anything else.
 */
const [folder] = process.argv.slice(2)
const { context, cat } = openLab(folder)
const head = parseReference('app')
const first = parseReference('app:first')
let isOver = false
void once(process.stdin, 'end').then(() => (isOver = true))
process.stdin.resume()

let last = 0
while (!isOver) {
  const number = Number(await cat('app', 'number'))
  if (!(number >= last)) throw new Error(`HEAD held ${last} before, and holds ${number} now`)
  last = number
  const { differences } = await diffTrees(context, head, first)
  const paths = differences.map(({ path }) => path)
  if (last > 0 && !paths.includes('number')) throw new Error(`differs from the first commit in: ${paths.join(' ')}`)
  await readStatus(context, head)
  process.stdout.write('.')
  await sleep(1)
}
