import fs from 'node:fs'
import path from 'node:path'
import { helm } from './helm.ts'

/** Writes deploy/: what `kubectl apply -k` takes, rendered from the chart. The cluster tests compare. */
const ROOT = path.resolve(import.meta.dirname, '../..')
const CHART = path.join(ROOT, 'charts/stratum')
const NAMESPACE = 'stratum-system'
/** Nobody can publish anything under this name: who forgets to set the image runs nobody's. */
const IMAGE = 'set-the-image.invalid/stratum'
const HEADER = '# Rendered from charts/stratum by npm run render. Do not edit.\n'

/** The generated files of deploy/, by path. */
export function rendered(): Record<string, string> {
  const without = render({ 'snapshotter.enabled': 'false' })
  const withSnapshots = render({ 'snapshotter.enabled': 'true' })
  const monitored = render({
    'monitoring.podMonitor.enabled': 'true',
    'monitoring.prometheusRule.enabled': 'true',
    'monitoring.dashboard.enabled': 'true',
  })
  const base = Object.entries(byFolder(without))
  return {
    'base/namespace.yaml': HEADER + namespace(),
    ...Object.fromEntries(base.map(([folder, text]) => [`base/${folder}.yaml`, HEADER + text])),
    'base/kustomization.yaml':
      HEADER + kustomization('Kustomization', ['namespace', ...base.map(([folder]) => folder)].sort()),
    'snapshots/class.yaml': HEADER + added(byFolder(without).classes, byFolder(withSnapshots).classes),
    'snapshots/sidecar.yaml': HEADER + sidecarPatch(added(byFolder(without).node, byFolder(withSnapshots).node)),
    'snapshots/kustomization.yaml':
      HEADER + kustomization('Component', ['class']) + 'patches:\n  - path: sidecar.yaml\n',
    'monitoring/monitoring.yaml': HEADER + byFolder(monitored).monitoring,
    'monitoring/kustomization.yaml': HEADER + kustomization('Component', ['monitoring']),
  }
}

if (import.meta.main) {
  for (const folder of ['base', 'snapshots', 'monitoring'])
    fs.rmSync(path.join(ROOT, 'deploy', folder), { recursive: true, force: true })
  for (const [name, text] of Object.entries(rendered())) {
    const file = path.join(ROOT, 'deploy', name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, text)
  }
}

function render(values: Readonly<Record<string, string>>): string {
  const all = { 'image.repository': IMAGE, 'crds.keep': 'false', ...values }
  const settings = Object.entries(all).flatMap(([name, value]) => ['--set', `${name}=${value}`])
  const text = helm(['template', 'stratum', CHART, '--namespace', NAMESPACE, '--no-hooks', '--skip-tests', ...settings])
  return text.replaceAll(/^ *(helm\.sh\/chart: .*|app\.kubernetes\.io\/managed-by: Helm)\n/gm, '')
}

/** The documents by the folder of their template. */
function byFolder(text: string): Record<string, string> {
  const folders: Record<string, string> = {}
  for (const document of text.split(/^---\n/m).sort()) {
    const folder = /^# Source: stratum\/templates\/(\w+)\//.exec(document)?.[1]
    if (folder !== undefined)
      folders[folder] = `${folders[folder] ?? ''}---\n${document.replace(/^# Source.*\n/, '').trim()}\n`
  }
  return folders
}

/** The lines that one text has and the other has not, all in one place. */
function added(without: string, withMore: string): string {
  const [a, b] = [without.split('\n'), withMore.split('\n')]
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  return b.slice(start, start + b.length - a.length).join('\n') + '\n'
}

function sidecarPatch(container: string): string {
  return `apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: stratum-node
  namespace: ${NAMESPACE}
spec:
  template:
    spec:
      containers:
${container}`
}

function kustomization(kind: 'Kustomization' | 'Component', resources: readonly string[]): string {
  const version = kind === 'Component' ? 'v1alpha1' : 'v1beta1'
  return `apiVersion: kustomize.config.k8s.io/${version}\nkind: ${kind}\nresources:\n${resources.map(name => `  - ${name}.yaml\n`).join('')}`
}

/** The node's pod is privileged. */
function namespace(): string {
  return `apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: privileged
`
}
