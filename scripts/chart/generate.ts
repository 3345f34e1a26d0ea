import fs from 'node:fs'
import path from 'node:path'
import { dashboard } from './dashboard.ts'
import { readValues, valuesTable } from './values.ts'

/** Writes what is made from something else in the chart: README.md and the dashboard. `npm test` compares. */
const CHART = path.resolve(import.meta.dirname, '../../charts/stratum')
const BEGIN = '<!-- generated from values.yaml by npm run generate:chart -->\n'
const END = '\n<!-- end -->'

/** The chart's files that are generated, by name. */
export function generated(): Record<string, string> {
  const readme = fs.readFileSync(path.join(CHART, 'README.md'), 'utf8')
  const table = valuesTable(readValues(fs.readFileSync(path.join(CHART, 'values.yaml'), 'utf8')))
  const [before, after] = [readme.split(BEGIN)[0], readme.split(END)[1]]
  return {
    'README.md': `${before}${BEGIN}${table}${END}${after}`,
    'files/dashboard.json': `${JSON.stringify(dashboard(), null, 2)}\n`,
  }
}

if (import.meta.main)
  for (const [name, text] of Object.entries(generated())) fs.writeFileSync(path.join(CHART, name), text)
