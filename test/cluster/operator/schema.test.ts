import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { API_DOCS, apiDocs, readCrds } from '../../../scripts/api-docs.ts'
import { createObject, getObject } from '../../../src/kube/client/objects.ts'
import { callApi } from '../../../src/kube/client/transport.ts'
import { STRATUM_COMMITS, STRATUM_LABELS } from '../../../src/kube/resources/stratum.ts'
import { startApi } from './support/api.ts'
import { type Attempt, checkTable, tryCreate, tryPatch } from './support/attempts.ts'

const api = await startApi()
after(() => api[Symbol.asyncDispose]())

const A = 'a'.repeat(64)
const B = '0123456789abcdef'.repeat(4)
const x = (length: number): string => 'x'.repeat(length)

const commit = (spec: unknown): Attempt => tryCreate(api.admin, STRATUM_COMMITS, { metadata: { name: 't' }, spec })
const label = (name: string, spec: unknown): Attempt =>
  tryCreate(api.admin, STRATUM_LABELS, { metadata: { name }, spec })
const tags = (...names: string[]): object => ({ label: 'web', tags: names.map(name => ({ name })) })

test('good requests are taken', async () => {
  const everything = {
    label: 'web',
    source: { head: {} },
    tags: [{ name: 'v2' }, { name: 'stable', policy: 'Move', expected: A }],
    message: 'nightly',
    consistency: 'Idle',
    maxPauseMilliseconds: 5,
    emptyPolicy: 'Fail',
    unclean: 'Allow',
    deadlineSeconds: 9,
    ttlSecondsAfterFinished: 0,
    deletionPolicy: 'Delete',
    suspend: true,
  }
  await checkTable([
    ['only a label', 'ok', commit({ label: 'web' })],
    ['everything', 'ok', commit(everything)],
    ['a label with parts', 'ok', commit({ label: 'library/a.b_c__d--e/x1' })],
    ['from a commit', 'ok', commit({ ...tags('v1'), source: { commit: A } })],
    ['from a tag', 'ok', commit({ ...tags('v2'), source: { tag: 'v1' } })],
    ['a tag that is the id of its commit', 'ok', commit({ ...tags(A), source: { commit: A } })],
    ['a tag of 128 characters', 'ok', commit(tags(x(128)))],
    ['a label of 189 characters', 'ok', commit({ label: x(189) })],
    ['an empty TTL', 'ok', commit({ label: 'web', ttlSecondsAfterFinished: null })],
    ['an empty source takes the default', 'ok', commit({ label: 'web', source: null })],
  ])
})

test('bad requests are refused with what to write instead', async () => {
  await checkTable([
    ['no spec', /spec: Required/, commit(null)],
    ['no label', /spec.label: Required/, commit({})],
    ['an empty label', /lower-case/, commit({ label: '' })],
    ['a label in upper case', /lower-case/, commit({ label: 'Web' })],
    ['a label with a tag', /a tag goes to spec.tags/, commit({ label: 'web:v1' })],
    ['a leading slash', /lower-case/, commit({ label: '/web' })],
    ['a way out', /lower-case/, commit({ label: '../etc' })],
    ['three underscores', /lower-case/, commit({ label: 'a___b' })],
    ['a newline at the end', /lower-case/, commit({ label: 'web\n' })],
    ['another script', /lower-case/, commit({ label: 'wéb' })],
    ['a label of 190 characters', /may not be more than 189|Too long/, commit({ label: x(190) })],
    ['a label of 91 parts', /each '\/' counted as 3/, commit({ label: `${'a/'.repeat(90)}a` })],
    ['a number as label', /must be of type string/, commit({ label: 5 })],
    ['no source', /exactly one/, commit({ label: 'web', source: {} })],
    ['two sources', /exactly one/, commit({ ...tags('v2'), source: { head: {}, tag: 'v1' } })],
    ['a misspelt source', /unknown field "spec.source.hed"/, commit({ label: 'web', source: { hed: {} } })],
    ['an empty head', /HEAD is written as `head: {}`/, commit({ label: 'web', source: { head: null } })],
    ['HEAD as a tag', /HEAD is not a tag/, commit({ ...tags('v2'), source: { tag: 'Head' } })],
    ['a short commit', /64 lower-case/, commit({ ...tags('v2'), source: { commit: 'deadbeef' } })],
    ['a commit in upper case', /64 lower-case/, commit({ ...tags('v2'), source: { commit: A.toUpperCase() } })],
    [
      'a commit of digits without quotes',
      /must be of type string/,
      commit({ ...tags('v2'), source: { commit: 12345678 } }),
    ],
    ['a commit of 65 digits', /Too long|may not be/, commit({ ...tags('v2'), source: { commit: `${A}a` } })],
    ['a commit without tags', /only makes tags/, commit({ label: 'web', source: { commit: A } })],
    ['a tag with an empty list', /only makes tags/, commit({ ...tags(), source: { tag: 'v1' } })],
    ['a tag twice', /Duplicate/, commit(tags('v2', 'v2'))],
    ['HEAD as a new tag', /HEAD is reserved/, commit(tags('hEaD'))],
    ['a hidden tag', /begins with/, commit(tags('.hidden'))],
    ['a tag with a slash', /begins with/, commit(tags('a/b'))],
    ['an empty tag', /begins with/, commit(tags(''))],
    ['a tag without a name', /name: Required/, commit({ label: 'web', tags: [{ policy: 'Move' }] })],
    ['tags as strings', /must be of type object/, commit({ label: 'web', tags: ['v2'] })],
    ['a tag of 129 characters', /Too long|may not be/, commit(tags(x(129)))],
    ['17 tags', /at most 16|Too many/, commit(tags(...Array.from({ length: 17 }, (_, i) => `t${i}`)))],
    ['the id of another commit as a tag of HEAD', /that very id/, commit(tags(A))],
    ['the id of another commit', /that very id/, commit({ ...tags(A), source: { commit: B } })],
    ['expected without Move', /policy: Move/, commit({ label: 'web', tags: [{ name: 'v2', expected: A }] })],
    [
      'expected with a prefix',
      /64 lower-case/,
      commit({ label: 'web', tags: [{ name: 'v2', policy: 'Move', expected: 'sha256:abc' }] }),
    ],
    ['a policy in lower case', /Unsupported value/, commit({ label: 'web', tags: [{ name: 'v2', policy: 'move' }] })],
    ['a consistency in lower case', /Unsupported value/, commit({ label: 'web', consistency: 'freeze' })],
    ['an unknown policy for nothing', /Unsupported value/, commit({ label: 'web', emptyPolicy: 'Create' })],
    ['unclean: "true"', /Unsupported value/, commit({ label: 'web', unclean: 'true' })],
    ['no pause', /greater than or equal to 1/, commit({ label: 'web', maxPauseMilliseconds: 0 })],
    [
      'a pause over the deadline',
      /longer than deadlineSeconds/,
      commit({ label: 'web', maxPauseMilliseconds: 2000, deadlineSeconds: 1 }),
    ],
    [
      'a deadline that is too large',
      /int32|less than or equal/,
      commit({ label: 'web', deadlineSeconds: 99999999999 }),
    ],
    ['a deadline with a unit', /must be of type integer/, commit({ label: 'web', deadlineSeconds: '10m' })],
    ['a negative TTL', /greater than or equal to 0/, commit({ label: 'web', ttlSecondsAfterFinished: -1 })],
    ['suspend: "yes"', /must be of type boolean/, commit({ label: 'web', suspend: 'yes' })],
    ['an unknown field', /unknown field/, commit({ label: 'web', tag: 'v2' })],
    ['a message of 4097 characters', /Too long|may not be/, commit({ label: 'web', message: x(4097) })],
  ])
})

test('a StratumLabel is named as its label is, or by a hash of it', async () => {
  await checkTable([
    ['a name', 'ok', label('web', { label: 'web' })],
    ['a hash', 'ok', label(`label-${A}`, { label: 'library/web' })],
    ['a label that looks like a hash is hashed', 'ok', label(`label-${A}`, { label: `label-${B}` })],
    ['another name', /is named as its label/, label('web2', { label: 'web' })],
    ['hashed without need', /is named as its label/, label(`label-${A}`, { label: 'web' })],
  ])
})

test('only suspend, TTL and deletion policy of a request can change', async () => {
  const key = { namespace: 'default', name: 't-change' }
  const spec = { label: 'web', tags: [{ name: 'v1' }, { name: 'v2', policy: 'Move' }], message: 'm' }
  await createObject(api.admin, STRATUM_COMMITS, { metadata: key, spec: spec as never })
  const patch = (patch: object): Attempt => tryPatch(api.admin, STRATUM_COMMITS, key, { patch: { spec: patch } })
  const json = (...patch: object[]): Attempt => tryPatch(api.admin, STRATUM_COMMITS, key, { patch })
  const only = /only suspend, ttlSecondsAfterFinished and deletionPolicy can change/
  const apply = (spec: object, force = false): Attempt =>
    tryPatch(api.admin, STRATUM_COMMITS, key, {
      patch: { apiVersion: 'stratum.dev/v1alpha1', kind: 'StratumCommit', metadata: key, spec },
      apply: { manager: 'b', force },
    })
  const rows: [string, 'ok' | RegExp, () => Attempt][] = [
    ['suspend', 'ok', () => patch({ suspend: true })],
    ['TTL set', 'ok', () => patch({ ttlSecondsAfterFinished: 5 })],
    ['TTL removed', 'ok', () => patch({ ttlSecondsAfterFinished: null })],
    ['deletionPolicy', 'ok', () => patch({ deletionPolicy: 'Delete' })],
    ['label', only, () => patch({ label: 'other' })],
    ['message changed', only, () => patch({ message: 'n' })],
    ['message removed', only, () => patch({ message: null })],
    ['tags removed', only, () => patch({ tags: null })],
    ['a tag added', only, () => patch({ tags: [...spec.tags, { name: 'v3' }] })],
    ['a tag taken away', only, () => patch({ tags: [{ name: 'v1' }] })],
    ['expected added', only, () => patch({ tags: [{ name: 'v1' }, { name: 'v2', policy: 'Move', expected: A }] })],
    ['tags in another order are the same', 'ok', () => patch({ tags: spec.tags.toReversed() })],
    ['another source', only, () => json({ op: 'replace', path: '/spec/source', value: { tag: 'v1' } })],
    ['a second source', /exactly one/, () => patch({ source: { tag: 'v1' } })],
    ['no source: the default comes back', 'ok', () => json({ op: 'remove', path: '/spec/source' })],
    ['no consistency: the default comes back', 'ok', () => patch({ consistency: null })],
    ['consistency', only, () => patch({ consistency: 'Live' })],
    ['maxPauseMilliseconds', only, () => patch({ maxPauseMilliseconds: 7 })],
    ['deadlineSeconds', only, () => patch({ deadlineSeconds: 7 })],
    ['emptyPolicy', only, () => patch({ emptyPolicy: 'Fail' })],
    ['unclean', only, () => patch({ unclean: 'Allow' })],
    ['no spec', /spec: Required/, () => json({ op: 'remove', path: '/spec' })],
    ['applied by another with another value', /conflict/, () => apply({ label: 'other' })],
    ['the same by force', only, () => apply({ label: 'other' }, true)],
    ['applied by another with the same value', 'ok', () => apply({ label: 'web' })],
    ['a tag applied by another', only, () => apply({ label: 'web', tags: [{ name: 'v9' }] })],
  ]
  for (const [name, wanted, attempt] of rows) await checkTable([[name, wanted, attempt()]])
})

test('commitId and completionTime are written once', async () => {
  const key = { namespace: 'default', name: 't-once' }
  await createObject(api.admin, STRATUM_COMMITS, { metadata: key, spec: { label: 'web' } as never })
  const status = (status: unknown): Attempt =>
    tryPatch(api.admin, STRATUM_COMMITS, key, { patch: { status }, subresource: 'status' })
  const rows: [string, 'ok' | RegExp, () => Attempt][] = [
    ['set', 'ok', () => status({ commitId: A, completionTime: '2026-01-01T00:00:00Z' })],
    ['commitId changed', /cannot change once/, () => status({ commitId: B })],
    ['commitId removed', /cannot change once/, () => status({ commitId: null })],
    ['completionTime changed', /cannot change once/, () => status({ completionTime: '2027-01-01T00:00:00Z' })],
    ['status removed', /cannot change once/, () => status(null)],
  ]
  for (const [name, wanted, attempt] of rows) await checkTable([[name, wanted, attempt()]])
  await tryPatch(api.admin, STRATUM_COMMITS, key, { patch: { spec: { label: 'other' } }, subresource: 'status' })
  assert.equal((await getObject(api.admin, STRATUM_COMMITS, key))?.spec.label, 'web', 'a status carries no spec')
})

interface Crd {
  readonly spec: {
    readonly versions: readonly {
      readonly schema: { readonly openAPIV3Schema: { readonly properties: { readonly spec: SpecSchema } } }
    }[]
  }
}
interface SpecSchema {
  readonly properties: Readonly<Record<string, unknown>>
  readonly 'x-kubernetes-validations': readonly { readonly rule: string }[]
}

test('the rule of what cannot change names every field but the three', async () => {
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/stratumcommits.stratum.dev'
  const crd = (await callApi(api.admin, { method: 'GET', path })) as Crd
  const { properties, 'x-kubernetes-validations': rules } = crd.spec.versions[0].schema.openAPIV3Schema.properties.spec
  const rule = rules.find(({ rule }) => rule.includes('oldSelf'))?.rule ?? ''
  const named = new Set([...rule.matchAll(/oldSelf\.(\w+)/g)].map(([, name]) => name))
  const free = ['suspend', 'ttlSecondsAfterFinished', 'deletionPolicy']
  assert.deepEqual(
    [...named].sort(),
    Object.keys(properties)
      .filter(name => !free.includes(name))
      .sort(),
  )
})

test('kubectl explain tells of every field what it is', async () => {
  const text = await api.kubectl(['explain', 'stratumcommits.spec', '--recursive'])
  for (const field of ['label', 'source', 'tags', 'consistency', 'deletionPolicy']) {
    const said = await api.kubectl(['explain', `stratumcommits.spec.${field}`])
    assert.match(said, /DESCRIPTION:\n\s+\S/, `${field} has no description`)
  }
  assert.match(text, /maxPauseMilliseconds/)
})

test('docs/api.md is that of the CRDs', () => {
  assert.equal(fs.readFileSync(API_DOCS, 'utf8'), apiDocs(readCrds()), 'npm run generate:api')
})
