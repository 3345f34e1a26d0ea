import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { KUBERNETES, programPath } from '../test/cluster/programs/programs.ts'

/** Writes docs/api.md from the chart's CRDs: `npm run generate:api`, once the cluster's programs are built (npm run test:cluster). */
interface Schema {
  readonly type?: string
  readonly description?: string
  readonly format?: string
  readonly default?: unknown
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly maxItems?: number
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly 'x-kubernetes-validations'?: readonly { readonly message?: string }[]
}

export interface Crd {
  readonly spec: {
    readonly group: string
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames?: readonly string[] }
    readonly versions: readonly {
      readonly name: string
      readonly schema: { readonly openAPIV3Schema: Schema }
      readonly additionalPrinterColumns?: readonly { readonly name: string; readonly priority?: number }[]
      readonly selectableFields?: readonly { readonly jsonPath: string }[]
    }[]
  }
}

const ROOT = path.resolve(import.meta.dirname, '..')
export const API_DOCS = path.join(ROOT, 'docs/api.md')

const HEAD = `# Custom resources

Made from \`charts/stratum/templates/crds\` by \`npm run generate:api\`. \`kubectl explain scm.spec\` shows the same. A field with a star is required.
`

/** What the conditions of a StratumCommit say. */
const REASONS: Readonly<Record<string, string>> = {
  Pending: 'Waits for a node that is there; it begins at once, as a rule.',
  Suspended: 'spec.suspend is true.',
  UnknownLabel: 'No node has such a label. Waits for one until the deadline.',
  NoHolder: 'The label is known, but no pod has used its HEAD yet. Waits until the deadline.',
  NoNode: 'A request that only makes tags: no node that is ready has commits of the label.',
  NodeNotReady:
    'The node that holds HEAD, or that has begun, is not ready. Waits; what was begun is not ended without it.',
  NodeGone:
    'The Node object is gone. A request that was begun there ends; others wait for `kubectl stratum release` until the deadline.',
  Accepted: 'A node carries the request out.',
  InProgress: 'It is at it.',
  Committed: 'The commit was made.',
  NothingToCommit:
    'HEAD is as its last commit: with emptyPolicy Skip that one was tagged, with Fail the request failed.',
  Existing: 'The request only makes tags, and its commit is there.',
  Tagged: 'All tags are there.',
  Completed: 'Everything is done.',
  AlreadyExists: 'A tag with policy IfNotPresent names another commit. Nothing was committed.',
  Conflict: 'A tag is not where `expected` says. Nothing was committed.',
  InUse: 'consistency Idle: somebody has HEAD open for writing; the message names who.',
  Unclean: 'After a power loss, files look cut; the message names them. unclean: Allow commits them.',
  NotFound: 'The commit or tag that is to be tagged does not exist; or HEAD is not there yet, which is tried again.',
  NoSpace: 'The store is full. Tried again until the deadline.',
  Busy: 'Another command works on the label. Tried again until the deadline.',
  IntegrityError: 'The store is damaged: `stratum fsck` on the node says how.',
  PermissionDenied: 'The label belongs to an earlier namespace of that name; the message says how it is adopted.',
  InvalidSpec: 'The label is none of this namespace.',
  DeadlineExceeded: 'The time is up; the message says what it waited for.',
  NotCommitted: 'Tagged is False as there is no commit.',
}

/** The chart's CRDs: Helm renders them, kubectl turns them into JSON. No cluster is asked. */
export function readCrds(): Crd[] {
  const chart = path.join(ROOT, 'charts/stratum')
  return ['stratumcommits', 'stratumlabels'].map(name => {
    const args = [
      'template',
      'stratum',
      chart,
      '--set',
      'image.repository=x',
      '--show-only',
      `templates/crds/${name}.yaml`,
    ]
    const input = execFileSync(programPath(KUBERNETES, 'helm'), args)
    const toJson = ['annotate', '--local', '-f', '-', 'a=b', '-o', 'json']
    return JSON.parse(execFileSync(programPath(KUBERNETES, 'kubectl'), toJson, { input, encoding: 'utf8' })) as Crd
  })
}

export function apiDocs(crds: readonly Crd[]): string {
  const reasons = Object.entries(REASONS).map(([reason, text]) => `| \`${reason}\` | ${text} |`)
  const table = ['## Reasons of a StratumCommit', '', '| reason | |', '| --- | --- |', ...reasons, '']
  return [HEAD, ...crds.map(describeKind), ...table].join('\n')
}

function describeKind({ spec }: Crd): string {
  const { group, names, versions } = spec
  const [version] = versions
  const schema = version.schema.openAPIV3Schema
  const columns = version.additionalPrinterColumns ?? []
  const shown = columns.map(({ name, priority = 0 }) => (priority > 0 ? `${name} (\`-o wide\`)` : name)).join(', ')
  const fields = (version.selectableFields ?? []).map(({ jsonPath }) => `\`${jsonPath.slice(1)}\``).join(', ')
  return [
    `## ${names.kind}`,
    '',
    `\`${group}/${version.name}\`, \`kubectl get ${names.plural}\` (${names.shortNames?.join(', ')}). ${schema.description}`,
    '',
    `Columns: ${shown}. Field selectors: ${fields}.`,
    '',
    ...['spec', 'status'].flatMap(part => [`### ${part}`, '', ...table(schema.properties?.[part] ?? {}), '']),
    '',
  ].join('\n')
}

function table(schema: Schema): string[] {
  const rows = [...fieldsOf(schema, '')]
  return ['| field | type | what it is |', '| --- | --- | --- |', ...rows]
}

function* fieldsOf({ properties = {}, required = [] }: Schema, prefix: string): Generator<string> {
  for (const [name, field] of Object.entries(properties)) {
    const full = `${prefix}${name}`
    const inner = field.items ?? field
    yield `| \`${full}\`${required.includes(name) ? ' *' : ''} | ${typeOf(field)} | ${textOf(field)} |`
    // The conditions are those of all of Kubernetes.
    if (name !== 'conditions') yield* fieldsOf(inner, `${full}${field.items === undefined ? '' : '[]'}.`)
  }
}

function typeOf(field: Schema): string {
  const one = field.items === undefined ? field : field.items
  const text =
    one.enum === undefined ? (one.format === 'date-time' ? 'time' : (one.type ?? 'object')) : one.enum.join(' \\| ')
  return field.items === undefined ? text : `list of ${text}`
}

function textOf(field: Schema): string {
  const range =
    field.minimum === undefined && field.maximum === undefined
      ? []
      : [`From ${field.minimum ?? 'any'} to ${field.maximum ?? 'any'}.`.replace(' to any', ' on')]
  const byDefault = field.default === undefined ? [] : [`Default \`${JSON.stringify(field.default)}\`.`]
  const rules = (field['x-kubernetes-validations'] ?? []).flatMap(({ message }) =>
    message === undefined ? [] : [`Rule: ${message}.`],
  )
  const length = field.maxItems === undefined ? [] : [`At most ${field.maxItems}.`]
  return [field.description ?? '', ...byDefault, ...range, ...length, ...rules].join(' ').replaceAll('|', '\\|').trim()
}

if (import.meta.main) fs.writeFileSync(API_DOCS, apiDocs(readCrds()))
