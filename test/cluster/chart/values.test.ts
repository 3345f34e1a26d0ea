import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { readValues } from '../../../scripts/chart/values.ts'
import { rendered } from '../../../scripts/chart/render.ts'
import { CHART, merge, MONITORING, renderText, SNAPSHOTS } from '../../support/chart.ts'

/** That every value does something, and that wrong ones are refused with a message that helps. Needs Helm, and no cluster. */

const ROOT = path.resolve(CHART, '../..')
const APIS = [SNAPSHOTS, MONITORING]
const OTHERS: Readonly<Record<string, unknown>> = {
  'image.digest': `sha256:${'b'.repeat(64)}`,
  'provisioner.image.digest': `sha256:${'b'.repeat(64)}`,
  'snapshotter.image.digest': `sha256:${'b'.repeat(64)}`,
  'image.pullPolicy': 'Always',
  imagePullSecrets: [{ name: 'key' }],
  kubeletDir: '/k',
  storePath: '/s',
  logLevel: 'debug',
  'node.updateStrategy.type': 'OnDelete',
  'node.resources.requests': { cpu: '11m' },
  'node.resources.limits': { memory: '2Gi' },
  'snapshotter.enabled': false,
  storageClasses: [{ name: 'other' }],
  'snapshotClass.deletionPolicy': 'Retain',
  'snapshotClass.parameters.consistency': 'Live',
  'snapshotClass.parameters.unclean': 'Refuse',
  'monitoring.podMonitor.enabled': false,
  'monitoring.podMonitor.interval': '5s',
  'monitoring.prometheusRule.enabled': false,
  'monitoring.prometheusRule.runbookUrl': 'https://example.com/r',
  'monitoring.prometheusRule.disabled': ['StratumStoreFull'],
  'monitoring.dashboard.enabled': false,
  'node.extraArgs': ['--x'],
  'provisioner.extraArgs': ['--x'],
  'snapshotter.extraArgs': ['--x'],
  'controller.extraArgs': ['--x'],
}

test('every value of values.yaml changes what is installed', () => {
  const dashboard = { monitoring: { dashboard: { enabled: true } } }
  const before = renderText({ values: dashboard, apis: APIS })
  const without = readValues(fs.readFileSync(path.join(CHART, 'values.yaml'), 'utf8')).filter(
    ({ path, default: value }) =>
      renderText({ values: merge(dashboard, nested(path, other(path, value))), apis: APIS }) === before,
  )
  assert.deepEqual(
    without.map(({ path }) => path),
    [],
  )
})

for (const [what, values, message] of [
  ['a misspelt value', { node: { toleration: [] } }, /at '\/node': additional properties 'toleration' not allowed/],
  ['a misspelt section', { controler: {} }, /additional properties 'controler' not allowed/],
  ['an unknown level', { logLevel: 'loud' }, /at '\/logLevel': value must be one of 'error', 'warn', 'info', 'debug'/],
  ['a relative folder', { kubeletDir: 'var/lib/kubelet' }, /at '\/kubeletDir': 'var\/lib\/kubelet' does not match/],
  ['a folder with a slash at its end', { storePath: '/var/lib/stratum/' }, /at '\/storePath'/],
  ['a folder that leads elsewhere', { storePath: '/var/../etc"' }, /at '\/storePath'/],
  ['a tag in the repository', { image: { repository: 'a/b:1' } }, /at '\/image\/repository': 'a\/b:1' does not match/],
  ['a shortened digest', { image: { digest: 'sha256:abc' } }, /at '\/image\/digest'/],
  ['no replica', { controller: { replicas: 0 } }, /at '\/controller\/replicas': minimum: got 0, want 1/],
  ['a port as text', { node: { port: '9809' } }, /at '\/node\/port': got string, want integer/],
  [
    'an unknown parameter',
    { storageClasses: [{ name: 'a', parameters: { fsType: 'ext4' } }] },
    /additional properties 'fsType'/,
  ],
  [
    'what a deletion removes',
    { storageClasses: [{ name: 'a', parameters: { onDelete: 'All' } }] },
    /one of 'Head', 'Label'/,
  ],
  [
    'a numeric parameter',
    { storageClasses: [{ name: 'a', parameters: { uid: 1000 } }] },
    /uid': got number, want string/,
  ],
  ['a StorageClass without a name', { storageClasses: [{ default: true }] }, /missing property 'name'/],
  [
    'an unknown consistency',
    { snapshotClass: { parameters: { consistency: 'Frozen' } } },
    /one of 'Freeze', 'Live', 'Idle'/,
  ],
  ['an argument that is none', { node: { extraArgs: ['verbose'] } }, /at '\/node\/extraArgs\/0'/],
  [
    'enabled: yes',
    { snapshotter: { enabled: 'yes' } },
    /at '\/snapshotter\/enabled': value must be one of true, false, 'auto'/,
  ],
] as const)
  test(`${what} is refused, and the message says where`, () => {
    assert.throws(() => renderText({ values }), message)
  })

test('values of parent charts are let through', () => {
  assert.equal(renderText({ values: { global: { anything: 1 } } }), renderText())
})

test('deploy/ is what the chart renders', () => {
  for (const [name, text] of Object.entries(rendered()))
    assert.equal(fs.readFileSync(path.join(ROOT, 'deploy', name), 'utf8'), text, `${name}: run npm run render`)
  const files = ['base', 'snapshots', 'monitoring'].flatMap(folder =>
    fs.readdirSync(path.join(ROOT, 'deploy', folder)).map(file => `${folder}/${file}`),
  )
  assert.deepEqual(files.sort(), Object.keys(rendered()).sort())
})

test('the sidecars that the chart installs are those that the cluster tests run', () => {
  const locked = fs.readFileSync(path.join(ROOT, 'test/cluster/tools/sidecars/go.mod'), 'utf8')
  const values = readValues(fs.readFileSync(path.join(CHART, 'values.yaml'), 'utf8'))
  for (const name of ['provisioner', 'snapshotter']) {
    const version = new RegExp(`external-${name}/v\\d+ (v\\S+)`).exec(locked)?.[1]
    assert.equal(values.find(({ path }) => path === `${name}.image.tag`)?.default, version, name)
  }
})

/** Another value of the same kind. */
function other(path: string, text: string): unknown {
  if (path in OTHERS) return OTHERS[path]
  if (/^(true|false)$/.test(text)) return text !== 'true'
  if (/^\d+$/.test(text)) return Number(text) + 1
  if (/(affinity)$/i.test(path)) return { nodeAffinity: {} }
  if (/(olerations|topologySpreadConstraints|env)$/.test(path))
    return [{ name: 'x', key: 'x' }].map(({ name, key }) => (path.endsWith('env') ? { name } : { key }))
  if (path.endsWith('extraStorageClasses')) return ['x']
  if (/resources\.\w+$/.test(path)) return { memory: '99Mi' }
  if (/^\{.*\}$/.test(text)) return { 'example.com/x': 'y' }
  return 'other'
}

function nested(path: string, value: unknown): object {
  return path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as object
}
