import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { parseLabel } from '../../../src/names/label.ts'
import { parseTag } from '../../../src/names/tag.ts'
import { readLog } from '../../../src/refs/log.ts'
import { readTag } from '../../../src/refs/tags.ts'
import { listObjects } from '../../../src/kube/client/objects.ts'
import { resource, startApi } from './support/api.ts'
import { startController } from './support/controller-lab.ts'
import { ask, change, ended, labelUntil, request, startNode, until, verdict } from './support/node-lab.ts'

const api = await startApi()
after(() => api[Symbol.asyncDispose]())
await api.createNamespace('team-a')
await api.createNode('node-1')
const node = await startNode(api, 'node-1')
const controller = await startController(api)
after(async () => {
  await node[Symbol.asyncDispose]()
  await controller[Symbol.asyncDispose]()
})
const WEB = parseLabel('team-a/web')
const head = await node.head('team-a/web')
let files = 0
/** Something to commit. */
const write = (): void => fs.writeFileSync(`${head}/file-${++files}`, `content of ${files}`.repeat(20))
const tagOf = (tag: string): string | undefined => readTag(node.store.store, WEB, parseTag(tag))
/** Asks for a commit of web that need not freeze anybody, and waits for its end. */
const commit = async (name: string, spec: Record<string, unknown> = {}): ReturnType<typeof ended> => {
  await ask(api, 'team-a', name, { label: 'web', consistency: 'Live', ...spec })
  return ended(api, 'team-a', name)
}

test('a commit is made, tagged and told: every condition, sizes, parent, Event, StratumLabel', async () => {
  write()
  const { status } = await commit('first', { tags: [{ name: 'v1' }, { name: 'stable', policy: 'Move' }], message: 'm' })
  const object = await request(api, 'team-a', 'first')
  assert.ok(object && status?.commitId)
  assert.deepEqual(
    ['Ready', 'Accepted', 'Committed', 'Tagged', 'Stalled'].map(type => verdict(object, type)),
    ['True Completed', 'True Accepted', 'True Committed', 'True Tagged', 'False Completed'],
  )
  assert.ok(object.status?.conditions?.every(condition => condition.observedGeneration === object.metadata.generation))
  assert.ok(status.tags?.length === 2 && status.tags.every(({ state }) => state === 'Created'))
  assert.deepEqual(status.tagNames?.split(',').sort(), ['stable', 'v1'])
  assert.equal(status.size?.files, 2)
  assert.equal(status.size?.filesChanged, 1)
  assert.equal(status.nodeName, 'node-1')
  assert.match(status.parentId ?? '', /^[0-9a-f]{64}$/)
  assert.match(status.merkleRoot ?? '', /^[0-9a-f]{64}$/)
  assert.notEqual(status.parentId, status.commitId)
  assert.equal(tagOf('v1'), status.commitId)
  assert.equal(tagOf('stable'), status.commitId)
  const entry = readLog(node.store.store, WEB).at(-1)
  assert.equal(entry?.actor, 'stratumcommit/team-a/first')
  assert.equal(entry?.message, 'm')
  const told = await labelUntil(api, 'team-a', 'web', ({ status: label }) => label?.lastCommit === status.commitId)
  assert.deepEqual(told.status?.holder?.nodeName, 'node-1')
  assert.ok(told.status?.tags?.some(({ name, commitId }) => name === 'v1' && commitId === status.commitId))
  const events = await listObjects(api.admin, resource('', 'v1', 'Event', 'events'), { namespace: 'team-a' })
  assert.ok(events.some(event => (event as { reason?: string }).reason === 'Committed'))
  await until(api, 'team-a', 'first', ({ metadata }) => metadata.finalizers?.includes('stratum.dev/tags') === true)
})

test('kubectl waits for it and shows it', async () => {
  await api.kubectl(['wait', '-n', 'team-a', '--for=condition=Ready', 'scm/first', '--timeout=10s'])
  const table = await api.kubectl(['get', 'scm', '-n', 'team-a', 'first'])
  assert.match(
    table,
    /NAME\s+LABEL\s+TAGS\s+NODE\s+READY\s+REASON\s+AGE\nfirst\s+web\s+\S+\s+node-1\s+True\s+Completed/,
  )
})

test('nothing changed: Skip tags the last commit, Fail says so', async () => {
  const last = (await request(api, 'team-a', 'first'))?.status?.commitId
  const skipped = await commit('empty', { tags: [{ name: 'again' }] })
  assert.equal(verdict(skipped, 'Ready'), 'True Completed')
  assert.equal(verdict(skipped, 'Committed'), 'True NothingToCommit')
  assert.equal(skipped.status?.commitId, last)
  assert.equal(tagOf('again'), last)
  const failed = await commit('empty-fail', { emptyPolicy: 'Fail' })
  assert.equal(verdict(failed, 'Ready'), 'False NothingToCommit')
  assert.equal(verdict(failed, 'Stalled'), 'True NothingToCommit')
  assert.equal(verdict(failed, 'Tagged'), 'False NotCommitted')
  assert.equal(failed.status?.commitId, undefined)
})

test('a request without tags is kept by the id of its commit', async () => {
  write()
  const { status } = await commit('untagged')
  assert.deepEqual(status?.tags, [{ name: status?.commitId, state: 'Created' }])
})

test('a tag that exists is looked at before anything is committed', async () => {
  write()
  const entries = readLog(node.store.store, WEB).length
  const refused = await commit('taken', { tags: [{ name: 'v1' }, { name: 'new' }] })
  assert.equal(verdict(refused, 'Ready'), 'False AlreadyExists')
  assert.equal(verdict(refused, 'Tagged'), 'False AlreadyExists')
  assert.equal(verdict(refused, 'Stalled'), 'True AlreadyExists')
  assert.deepEqual(refused.status?.tags, [{ name: 'v1', state: 'Conflict' }])
  assert.equal(tagOf('new'), undefined, 'all tags or none')
  assert.equal(readLog(node.store.store, WEB).length, entries)
})

test('Move takes a tag along, with compare-and-swap where that is asked for', async () => {
  const before = tagOf('stable')
  const wrong = await commit('cas-wrong', { tags: [{ name: 'stable', policy: 'Move', expected: '0'.repeat(64) }] })
  assert.equal(verdict(wrong, 'Ready'), 'False Conflict')
  assert.deepEqual(wrong.status?.tags, [{ name: 'stable', state: 'Conflict' }])
  assert.equal(tagOf('stable'), before)
  const right = await commit('cas-right', { tags: [{ name: 'stable', policy: 'Move', expected: before }] })
  assert.equal(verdict(right, 'Ready'), 'True Completed')
  assert.deepEqual(right.status?.tags, [{ name: 'stable', state: 'Moved' }])
  assert.equal(tagOf('stable'), right.status?.commitId)
})

test('nothing moves `latest` unless a request names it', async () => {
  const latest = await commit('latest', { tags: [{ name: 'latest' }] })
  write()
  const next = await commit('after-latest')
  assert.notEqual(next.status?.commitId, latest.status?.commitId)
  assert.equal(tagOf('latest'), latest.status?.commitId)
})

test('a request from a tag or a commit only makes tags', async () => {
  write()
  const v1 = tagOf('v1')
  const fromTag = await commit('from-tag', { source: { tag: 'v1' }, tags: [{ name: 'copy' }] })
  assert.equal(verdict(fromTag, 'Committed'), 'True Existing')
  assert.equal(fromTag.status?.commitId, v1)
  assert.equal(tagOf('copy'), v1)
  const same = await commit('from-tag-again', { source: { tag: 'v1' }, tags: [{ name: 'copy' }] })
  assert.deepEqual(same.status?.tags, [{ name: 'copy', state: 'Unchanged' }])
  const fromCommit = await commit('from-commit', { source: { commit: v1 }, tags: [{ name: 'copy-2' }] })
  assert.equal(tagOf('copy-2'), fromCommit.status?.commitId)
  const missing = await commit('from-nothing', { source: { tag: 'no-such-tag' }, tags: [{ name: 'copy-3' }] })
  assert.equal(verdict(missing, 'Ready'), 'False NotFound')
})

test('Idle is refused while somebody writes, with the name of who does', async () => {
  const open = fs.openSync(`${head}/open`, 'w')
  const refused = await commit('idle-refused', { consistency: 'Idle' })
  assert.equal(verdict(refused, 'Ready'), 'False InUse')
  assert.equal(verdict(refused, 'Stalled'), 'True InUse')
  assert.match(JSON.stringify(refused.status?.conditions), /node|pid/)
  fs.closeSync(open)
  assert.equal(verdict(await commit('idle', { consistency: 'Idle' }), 'Ready'), 'True Completed')
})

test('a suspended request waits, and its deadline begins when it goes on', async () => {
  write()
  await ask(api, 'team-a', 'later', {
    label: 'web',
    consistency: 'Live',
    suspend: true,
    deadlineSeconds: 5,
    maxPauseMilliseconds: 1,
  })
  const waits = await until(api, 'team-a', 'later', object => verdict(object, 'Ready') === 'False Suspended')
  assert.equal(verdict(waits, 'Accepted'), 'False Suspended')
  assert.equal(verdict(waits, 'Stalled'), 'False Suspended')
  assert.equal(waits.status?.startTime, undefined)
  await new Promise(resolve => setTimeout(resolve, 6000))
  await change(api, 'team-a', 'later', { suspend: false })
  const done = await ended(api, 'team-a', 'later')
  assert.equal(verdict(done, 'Ready'), 'True Completed')
  assert.equal(done.status?.observedGeneration, 2)
})

test('a label that nobody knows, and one whose HEAD nobody holds, wait for somebody until the deadline', async () => {
  await ask(api, 'team-a', 'unknown', { label: 'no-such', deadlineSeconds: 600 })
  await until(api, 'team-a', 'unknown', object => verdict(object, 'Accepted') === 'False UnknownLabel')
  await node.store.importFiles('team-a/tags-only:v1', { f: 'f' })
  await labelUntil(api, 'team-a', 'tags-only', ({ status }) => status?.nodes?.[0]?.tagCount === 1)
  await ask(api, 'team-a', 'no-holder', { label: 'tags-only', deadlineSeconds: 4, maxPauseMilliseconds: 1 })
  await until(api, 'team-a', 'no-holder', object => verdict(object, 'Accepted') === 'False NoHolder')
  const late = await ended(api, 'team-a', 'no-holder')
  assert.equal(verdict(late, 'Ready'), 'False DeadlineExceeded')
  assert.equal(verdict(late, 'Stalled'), 'True DeadlineExceeded')
  assert.match(JSON.stringify(late.status?.conditions), /nobody has HEAD of tags-only/)
  // The first one is taken as soon as somebody has the label.
  await node.head('team-a/no-such')
  assert.equal(verdict(await ended(api, 'team-a', 'unknown'), 'Ready'), 'True Completed')
})

test('tags of a label that nobody holds are made by a node that has its commits', async () => {
  await ask(api, 'team-a', 'tag-only', { label: 'tags-only', source: { tag: 'v1' }, tags: [{ name: 'v2' }] })
  const done = await ended(api, 'team-a', 'tag-only')
  assert.equal(verdict(done, 'Ready'), 'True Completed')
  assert.equal(done.status?.nodeName, 'node-1')
})

test('a label of another namespace cannot be named', async () => {
  await api.createNamespace('team-b')
  await ask(api, 'team-b', 'theirs', { label: 'web', deadlineSeconds: 600 })
  const waits = await until(api, 'team-b', 'theirs', object => verdict(object, 'Accepted') !== 'none')
  assert.equal(verdict(waits, 'Accepted'), 'False UnknownLabel', "it is team-b's own, which there is not")
})

test('after its TTL a request is deleted, its tags stay', async () => {
  write()
  await ask(api, 'team-a', 'short', {
    label: 'web',
    consistency: 'Live',
    tags: [{ name: 'kept' }],
    ttlSecondsAfterFinished: 1,
  })
  const gone = async (): Promise<boolean> => (await request(api, 'team-a', 'short')) === undefined
  for (let tries = 0; !(await gone()) && tries < 600; tries++) await new Promise(resolve => setTimeout(resolve, 100))
  assert.ok(await gone())
  assert.match(tagOf('kept') ?? '', /^[0-9a-f]{64}$/)
})

test('Freeze says how long the writers stood still', async () => {
  write()
  const frozen = await commit('frozen', { consistency: 'Freeze' })
  assert.equal(verdict(frozen, 'Ready'), 'True Completed')
  assert.ok(Number.isInteger(frozen.status?.pauseMilliseconds))
})
