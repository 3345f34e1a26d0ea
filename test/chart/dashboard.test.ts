import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { dashboard, dashboardQueries } from '../../scripts/chart/dashboard.ts'
import { createControllerMetrics, createMetrics } from '../../src/telemetry/metrics.ts'
import { faultsOf, knownSeries } from '../support/metrics.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const FILE = path.join(ROOT, 'charts/stratum/files/dashboard.json')

test('the file in the chart is the one that the script makes', () => {
  assert.deepEqual(JSON.parse(fs.readFileSync(FILE, 'utf8')), dashboard(), 'run: npm run generate:chart')
})

test('every series and label that the dashboard asks for exists', () => {
  const known = knownSeries()
  for (const query of dashboardQueries()) assert.deepEqual(faultsOf(query, known), [], query)
})

test('Prometheus understands every query', () => {
  const promtool = execFileSync('sh', [path.join(ROOT, 'scripts/promtool.sh')], { encoding: 'utf8' }).trim()
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'dashboard-')), 'rules.yaml')
  const rules = dashboardQueries().map((query, i) => ({
    record: `query_${i}`,
    expr: query.replaceAll('$__rate_interval', '5m').replaceAll('$node', '.*'),
  }))
  fs.writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }))
  execFileSync(promtool, ['check', 'rules', file], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
})

test('docs/metrics.md names every metric with its labels, and nothing else', () => {
  const documented = [
    ...fs
      .readFileSync(path.join(ROOT, 'docs/metrics.md'), 'utf8')
      .matchAll(/^\| `(stratum_\w+)(?:\{([\w,]+)\})?` +\| (\w+)/gm),
  ].map(([, name, labels = '', kind]) => `${name}{${labels}} ${kind}`)
  const declared = [createMetrics(), createControllerMetrics()].flatMap(({ registry }) =>
    (registry.getMetricsAsArray() as unknown as { name: string; type: string; labelNames: string[] }[])
      .filter(({ name }) => !/^stratum_(nodejs|process)_/.test(name))
      .map(({ name, type, labelNames }) => `${name}{${labelNames.join(',')}} ${type}`),
  )
  assert.deepEqual(documented.sort(), [...new Set(declared)].sort())
})
