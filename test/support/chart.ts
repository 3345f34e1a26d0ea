import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { helm } from '../../scripts/chart/helm.ts'

export const CHART = path.resolve(import.meta.dirname, '../../charts/stratum')

/** An object of Kubernetes; nothing about its fields is known. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Manifest = Record<string, any>

export interface RenderOptions {
  /** Values, by nested maps as in values.yaml. image.repository is set, unless it is given. */
  readonly values?: object
  readonly release?: string
  readonly namespace?: string
  /** API groups that the cluster pretends to have. */
  readonly apis?: readonly string[]
}

export const SNAPSHOTS = 'snapshot.storage.k8s.io/v1'
export const MONITORING = 'monitoring.coreos.com/v1'

/** What Helm would install, hooks and tests included, as text. @throws Error with Helm's complaint */
export function renderText({
  values,
  release = 'stratum',
  namespace = 'stratum-system',
  apis = [],
}: RenderOptions = {}): string {
  const image = { image: { repository: 'localhost/stratum' } }
  const file = path.join(scratch(), 'values.json')
  fs.writeFileSync(file, JSON.stringify(merge(image, values ?? {})))
  const known = apis.flatMap(api => ['--api-versions', api])
  return helm(['template', release, CHART, '--namespace', namespace, '--values', file, ...known])
}

export function render(options: RenderOptions = {}): Manifest[] {
  return parseYaml(renderText(options))
}

/** The only object of a kind (and name). */
export function find(objects: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = objects.filter(object => object.kind === kind && (name === undefined || object.metadata.name === name))
  if (found.length !== 1) throw new Error(`${found.length} objects ${kind} ${name ?? ''}`)
  return found[0]
}

/** Documents of YAML, read by Helm's own parser: a chart of one template that prints them as JSON. */
export function parseYaml(text: string): Manifest[] {
  const chart = scratch()
  fs.mkdirSync(path.join(chart, 'templates'))
  fs.writeFileSync(path.join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: json\nversion: 0.0.0\n')
  const documents = text.split(/^---$/m).filter(document => /^[^#\s]/m.test(document))
  documents.forEach((document, i) => fs.writeFileSync(path.join(chart, `${String(i).padStart(4, '0')}.doc`), document))
  const template =
    '{{ range $name, $_ := .Files.Glob "*.doc" }}\n---\n{{ $.Files.Get $name | fromYaml | toJson }}\n{{ end }}'
  fs.writeFileSync(path.join(chart, 'templates/all.yaml'), template)
  const objects = helm(['template', 'json', chart])
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Manifest)
  if (objects.length !== documents.length) throw new Error(`${documents.length} documents, ${objects.length} objects`)
  return objects
}

export function merge(base: object, more: object): object {
  const result: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(more)) {
    const before = result[key]
    const both = isMap(before) && isMap(value)
    result[key] = both ? merge(before, value) : value
  }
  return result
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function scratch(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'chart-'))
}
