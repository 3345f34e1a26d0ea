import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseLabel } from '../../../src/names/label.ts'
import { getObject, patchObject } from '../../../src/kube/client/objects.ts'
import { NAMESPACES } from '../../../src/kube/resources/core.ts'
import { objectName, storeLabel } from '../../../src/kube/resources/names.ts'
import { isHeld, readHolder } from '../../../src/kube/node/holder-records.ts'
import { STRATUM_LABELS } from '../../../src/kube/resources/stratum.ts'
import { createTestStore } from '../../support/store.ts'
import { waitFor } from '../support/wait.ts'
import { deleteByHand, HOME, startApi } from './support/api.ts'
import { ask, ended, label, labelUntil, startNode, verdict } from './support/node-lab.ts'

/** One HEAD, one holder. */
const api = await startApi()
after(() => api[Symbol.asyncDispose]())
await api.createNamespace('team-a')
for (const name of ['node-1', 'node-2']) await api.createNode(name)
const one = await startNode(api, 'node-1')
const two = await startNode(api, 'node-2')
after(async () => {
  await one[Symbol.asyncDispose]()
  await two[Symbol.asyncDispose]()
})
const soon = (): AbortSignal => AbortSignal.timeout(30_000)
const holderOf = async (name: string): Promise<string | undefined> =>
  (await label(api, 'team-a', name))?.status?.holder?.nodeName

test('of nodes that want a HEAD at the same moment one gets it, and the others are told which', async () => {
  for (let round = 0; round < 5; round++) {
    const name = `race-${round}`
    const wanted = parseLabel(`team-a/${name}`)
    const results = await Promise.allSettled([one, two].map(({ cluster }) => cluster.holders.take(wanted, soon())))
    const winner = await holderOf(name)
    const losers = results.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
    assert.equal(losers.length, 1)
    const { code, message, hint } = losers[0].reason as { code: string; message: string; hint: string }
    assert.equal(code, 'other-holder')
    assert.equal(message, `HEAD of team-a/${name} is on node ${winner}`)
    assert.match(hint, new RegExp(`kubectl stratum release ${name} -n team-a`))
  }
})

test('who holds it takes it again, and gives it back', async () => {
  const mine = parseLabel('team-a/again')
  await one.cluster.holders.take(mine, soon())
  await one.cluster.holders.take(mine, soon())
  await assert.rejects(two.cluster.holders.take(mine, soon()), { code: 'other-holder' })
  await one.cluster.holders.release(mine)
  assert.equal(await holderOf('again'), undefined)
  await two.cluster.holders.take(mine, soon())
  assert.equal(await holderOf('again'), 'node-2')
})

test('a HEAD that is taken while its StratumLabel is brought in line stays held', async () => {
  const node = await startNode(api, 'node-1', createTestStore())
  await node.stop()
  await using running = node.cluster.start(node.volumes)
  await running.synced
  await node.store.importFiles('team-a/looked-at:v1', { 'a.txt': 'a' })
  const mine = parseLabel('team-a/looked-at')
  for (let round = 0; round < 40; round++) {
    running.labelChanged(mine)
    await sleep(round % 10)
    await node.cluster.holders.take(mine, soon())
    await sleep(40)
    assert.ok(isHeld(node.store.store, mine), `round ${round}`)
    assert.equal(await holderOf('looked-at'), 'node-1')
    await node.cluster.holders.release(mine)
  }
})

test('another store of the same node does not get the HEAD of the first', async () => {
  const mine = parseLabel('team-a/reimaged')
  await one.cluster.holders.take(mine, soon())
  await one.stop()
  const other = await startNode(api, 'node-1', createTestStore())
  await assert.rejects(other.cluster.holders.take(mine, soon()), (error: Error & { code: string }) => {
    assert.equal(error.code, 'other-holder')
    assert.match(error.message, /was in the store .* of this node, which is not the one that is here now/)
    return true
  })
  await other.stop()
  await one.start()
})

test('a StratumLabel that was deleted by hand is made again, with its holder', async () => {
  await one.head('team-a/deleted')
  await labelUntil(api, 'team-a', 'deleted', ({ status }) => status?.holder?.nodeName === 'node-1')
  await deleteByHand(api.admin, STRATUM_LABELS, await label(api, 'team-a', 'deleted'))
  await labelUntil(
    api,
    'team-a',
    'deleted',
    ({ status }) => status?.holder?.nodeName === 'node-1' && status.tagCount === 1, // written by two updates
  )
})

test('HEAD that an admin released is given up, unless it is in use', async () => {
  const idle = parseLabel('team-a/idle')
  await one.cluster.holders.take(idle, soon())
  await one.head('team-a/used')
  for (const name of ['idle', 'used']) {
    await labelUntil(api, 'team-a', name, ({ status }) => status?.holder?.nodeName === 'node-1')
    await patchObject(
      api.admin,
      STRATUM_LABELS,
      { namespace: 'team-a', name },
      { status: { holder: null } },
      { subresource: 'status' },
    )
  }
  await labelUntil(api, 'team-a', 'used', ({ status }) => status?.holder?.nodeName === 'node-1')
  await waitFor('the record to go', () => !isHeld(one.store.store, idle))
  await two.cluster.holders.take(idle, soon())
  assert.equal(await holderOf('idle'), 'node-2')
})

test('every node tells what it has of a label; tags, sizes and the last commit are those of the holder', async () => {
  await one.head('team-a/shared', { a: 'a' })
  await two.store.importFiles('team-a/shared:v9', { b: 'bb' })
  const told = await labelUntil(api, 'team-a', 'shared', ({ status }) => status?.nodes?.length === 2)
  const bytes = Object.fromEntries((told.status?.nodes ?? []).map(node => [node.nodeName, node.bytes]))
  assert.deepEqual(bytes, { 'node-1': 1, 'node-2': 2 })
  assert.ok(!told.status?.tags?.some(({ name }) => name === 'v9'))
  await two.store.removeTag('team-a/shared:v9')
  two.store.run(['remove', 'team-a/shared', '--yes'])
  await labelUntil(
    api,
    'team-a',
    'shared',
    ({ status }) => status?.nodes?.length === 1 || status?.nodes?.[1]?.tagCount === 0,
  )
})

test('labels that are no names in Kubernetes, and those of library/, have a hash for a name', async () => {
  await one.cluster.holders.take(storeLabel('team-a', 'a__b/c')!, soon())
  const hashed = await label(api, 'team-a', objectName('a__b/c'))
  assert.match(hashed?.metadata.name ?? '', /^label-[0-9a-f]{64}$/)
  assert.equal(hashed?.spec.label, 'a__b/c')
  await one.cluster.holders.take(parseLabel('library/base'), soon())
  assert.equal((await label(api, HOME, objectName('library/base')))?.status?.holder?.nodeName, 'node-1')
})

test('a namespace that was deleted and made again inherits nothing unless its admin says so', async () => {
  await api.createNamespace('team-x')
  await one.head('team-x/web')
  const first = await getObject(api.admin, NAMESPACES, { name: 'team-x' })
  await removeNamespace('team-x')
  const second = await api.createNamespace('team-x')
  assert.notEqual(first?.metadata.uid, second.metadata.uid)
  await assert.rejects(
    one.cluster.holders.take(parseLabel('team-x/db'), soon()),
    (error: Error & { code: string; hint: string }) => {
      assert.equal(error.code, 'permission')
      const annotate = `kubectl annotate namespace team-x stratum.dev/adopt=${first?.metadata.uid}`
      assert.ok(error.hint.includes(annotate), error.hint)
      assert.match(error.hint, /stratum --store \S+ remove team-x\/web --yes/)
      return true
    },
  )
  await assert.rejects(one.cluster.holders.requireNamespace('team-x', soon()), { code: 'permission' })
  await ask(api, 'team-x', 'theirs', { label: 'web', consistency: 'Live' })
  const refused = await ended(api, 'team-x', 'theirs')
  assert.equal(verdict(refused, 'Ready'), 'False PermissionDenied')
  const annotations = { 'stratum.dev/adopt': first?.metadata.uid }
  await patchObject(api.admin, NAMESPACES, { name: 'team-x' }, { metadata: { annotations } })
  await one.cluster.holders.take(parseLabel('team-x/web'), soon())
  await ask(api, 'team-x', 'adopted', { label: 'web', consistency: 'Live' })
  assert.equal(verdict(await ended(api, 'team-x', 'adopted'), 'Ready'), 'True Completed')
})

test('a namespace that was made again begins anew where nothing of the earlier one is left', async () => {
  await api.createNamespace('team-v')
  await one.store.importFiles('team-v/web:v1', { f: 'f' })
  await one.cluster.holders.requireNamespace('team-v', soon())
  await removeNamespace('team-v')
  await api.createNamespace('team-v')
  await assert.rejects(one.cluster.holders.requireNamespace('team-v', soon()), { code: 'permission' })
  await assert.rejects(one.cluster.holders.take(parseLabel('team-v/db'), soon()), { code: 'permission' })
  assert.equal(one.store.run(['remove', 'team-v/web', '--yes']).status, 0)
  await one.cluster.holders.take(parseLabel('team-v/db'), soon())
  await one.cluster.holders.requireNamespace('team-v', soon())
})

test('while the API server is away, namespaces are what they were: known, refused or unknown', async () => {
  await api.createNamespace('team-y')
  const owns = (node: typeof one, name: string): Promise<void> => node.cluster.holders.requireNamespace(name, soon())
  await two.store.importFiles('team-y/web:v1', { f: 'f' })
  await owns(two, 'team-a')
  await owns(two, 'team-y')
  await owns(two, HOME)
  await removeNamespace('team-y')
  await assert.rejects(owns(two, 'team-y'), { code: 'not-found' })
  await api.createNamespace('team-y')
  await assert.rejects(owns(two, 'team-y'), { code: 'permission', message: /belong to an earlier namespace/ })
  await owns(one, 'team-y') // this store has nothing of the first one
  await api.stop()
  await owns(two, 'team-a')
  await owns(one, 'team-y')
  await assert.rejects(owns(two, 'team-y'), { code: 'permission', hint: /stratum.dev\/adopt=/ })
  await assert.rejects(owns(two, 'team-z'), { code: 'unavailable', message: /whose the labels of team-z\/ are/ })
  await api.start()
  const { uid } = (await getObject(api.admin, NAMESPACES, { name: 'team-a' }))?.metadata ?? {}
  const annotations = { 'stratum.dev/adopt': uid }
  await patchObject(api.admin, NAMESPACES, { name: 'team-y' }, { metadata: { annotations } })
  await assert.rejects(owns(two, 'team-y'), { code: 'permission' }, 'adopting another one changes nothing')
})

/** There is no kube-controller-manager here that would do it. */
async function removeNamespace(name: string): Promise<void> {
  for (const object of ['stratumlabels', 'stratumcommits']) await api.kubectl(['delete', object, '--all', '-n', name])
  await api.kubectl(['delete', 'namespace', name, '--wait=false'])
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: { finalizers: [] } }
  await api.kubectl(['replace', '--raw', `/api/v1/namespaces/${name}/finalize`, '-f', '-'], JSON.stringify(body))
  await waitFor('the namespace to go', async () => (await getObject(api.admin, NAMESPACES, { name })) === undefined)
}

test('while the API server is away, HEADs that are held are taken, others are not', async () => {
  const held = parseLabel('team-a/offline')
  await one.cluster.holders.take(held, soon())
  await api.stop()
  await one.cluster.holders.take(held, soon())
  await assert.rejects(one.cluster.holders.take(parseLabel('team-a/new'), soon()), { code: 'unavailable' })
  await one.cluster.holders.release(held)
  await api.start()
  await waitFor('HEAD to be given back', async () => (await holderOf('offline')) === undefined)
  await waitFor('the record to go', () => readHolder(one.store.store, held) === undefined)
})
