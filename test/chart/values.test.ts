import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { generated } from '../../scripts/chart/generate.ts'
import { readValues, valuesTable } from '../../scripts/chart/values.ts'

const CHART = path.resolve(import.meta.dirname, '../../charts/stratum')
const values = readValues(fs.readFileSync(path.join(CHART, 'values.yaml'), 'utf8'))

interface Schema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: unknown
  readonly $ref?: string
}
const schema = JSON.parse(fs.readFileSync(path.join(CHART, 'values.schema.json'), 'utf8')) as Schema & {
  readonly $defs: Readonly<Record<string, Schema>>
}

test('what is generated is as the scripts make it', () => {
  for (const [name, text] of Object.entries(generated()))
    assert.equal(fs.readFileSync(path.join(CHART, name), 'utf8'), text, `${name}: run npm run generate:chart`)
})

test('values.yaml and its schema know the same values', () => {
  const inSchema = leaves(schema, '').filter(name => name !== 'global' && !name.endsWith('resources.claims'))
  assert.deepEqual(values.map(({ path }) => path).sort(), inSchema.sort())
})

test('the schema refuses what it does not know, at every level', () => {
  const open = objects(schema, '').filter(({ node }) => node.additionalProperties !== false)
  assert.deepEqual(
    open.map(({ name }) => name),
    [],
  )
})

test('comments, lists and nested maps are read as they stand', () => {
  const text =
    '# of the file\n\n# One.\n# Two.\na: 5\nb:\n  # Deep.\n  c: "x: y"\n  d:\n    - key: 1\n      more: 2\n    - key: 3\n  e: {}\nf: []\n'
  assert.deepEqual(readValues(text), [
    { path: 'a', default: '5', comment: 'One. Two.' },
    { path: 'b.c', default: '"x: y"', comment: 'Deep.' },
    { path: 'b.d', default: '- key: 1\n  more: 2\n- key: 3', comment: '' },
    { path: 'b.e', default: '{}', comment: '' },
    { path: 'f', default: '[]', comment: '' },
  ])
  assert.match(valuesTable([{ path: 'a', default: 'x|y', comment: '<b>' }]), /\| `a` \| `x\\\|y` \| &lt;b> \|/)
})

/** Objects whose fields are listed in the schema, with their names. */
function objects(node: Schema, name: string): { name: string; node: Schema }[] {
  const target = node.$ref === undefined ? node : schema.$defs[node.$ref.slice('#/$defs/'.length)]
  if (target.properties === undefined) return []
  const below = Object.entries(target.properties).flatMap(([key, child]) => objects(child, join(name, key)))
  return [{ name, node: target }, ...below]
}

function leaves(node: Schema, name: string): string[] {
  const target = node.$ref === undefined ? node : schema.$defs[node.$ref.slice('#/$defs/'.length)]
  if (target.properties === undefined) return [name]
  return Object.entries(target.properties).flatMap(([key, child]) => leaves(child, join(name, key)))
}

function join(name: string, key: string): string {
  return name === '' ? key : `${name}.${key}`
}
