import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMetrics } from '../../../src/telemetry/metrics.ts'
import { type Mirror, mirrorResource, type MirrorTiming } from '../../../src/kube/client/mirror.ts'
import { createObject, deleteObject, getObject, patchObject } from '../../../src/kube/client/objects.ts'
import { createQueue } from '../../../src/kube/client/queue.ts'
import { type Namespace, NAMESPACES } from '../../../src/kube/resources/core.ts'
import { waitFor } from '../support/wait.ts'
import { startApi } from './support/api.ts'
import { startProxy } from './support/flaky-proxy.ts'
import { quiet } from './support/node-lab.ts'

/** The client against a real API server that vanishes, is overloaded, forgets, closes streams, or is half-open. */
const api = await startApi({ chart: false })
const proxy = await startProxy(api.admin)
after(async () => {
  await proxy[Symbol.asyncDispose]()
  await api[Symbol.asyncDispose]()
})
const FAST: Partial<MirrorTiming> = { backoffMs: [20, 200] }

interface Copy extends AsyncDisposable {
  readonly mirror: Mirror<Namespace>
  /** What the mirror told of, in order. */
  readonly changes: string[]
  restarts(reason: string): Promise<number>
}

async function copy(timing: Partial<MirrorTiming> = FAST): Promise<Copy> {
  const changes: string[] = []
  const metrics = createMetrics()
  const mirror = mirrorResource(proxy.server, NAMESPACES, {
    onChange: (key, now, before) => changes.push(`${now === undefined ? '-' : before === undefined ? '+' : '~'}${key}`),
    log: quiet(),
    metrics,
    timing: { ...FAST, ...timing },
  })
  await mirror.synced
  return {
    mirror,
    changes,
    async restarts(reason) {
      const { values } = await metrics.watchReconnects.get()
      return values.find(({ labels }) => labels.reason === reason)?.value ?? 0
    },
    [Symbol.asyncDispose]: () => mirror[Symbol.asyncDispose](),
  }
}

const remove = async (name: string): Promise<void> => {
  await api.kubectl(['delete', 'namespace', name, '--wait=false'])
  await api.kubectl(
    ['replace', '--raw', `/api/v1/namespaces/${name}/finalize`, '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: { finalizers: [] } }),
  )
}

test('a mirror follows what is made, changed and deleted', async () => {
  await using now = await copy()
  await api.createNamespace('a')
  await patchObject(api.admin, NAMESPACES, { name: 'a' }, { metadata: { labels: { x: 'y' } } })
  await waitFor('the change', () => now.mirror.get('a')?.metadata.labels?.x === 'y')
  await remove('a')
  await waitFor('the end', () => now.mirror.get('a') === undefined)
  assert.equal(
    now.changes.find(change => change.endsWith('a')),
    '+a',
  )
  assert.equal(now.changes.at(-1), '-a')
})

test('a list of more than a page is read whole', async () => {
  const names = Array.from({ length: 520 }, (_, i) => `page-${i}`)
  for (let i = 0; i < names.length; i += 20)
    await Promise.all(names.slice(i, i + 20).map(name => api.createNamespace(name)))
  proxy.seen.length = 0
  await using now = await copy()
  assert.ok(names.every(name => now.mirror.get(name) !== undefined))
  assert.ok(proxy.seen.filter(url => url.includes('limit=100')).length >= 6)
})

test('streams that are closed are opened again where they were, without a list', async () => {
  await using now = await copy()
  proxy.seen.length = 0
  for (let i = 0; i < 5; i++) {
    await waitFor('a stream', () => proxy.streams.size > 0)
    for (const stream of proxy.streams) stream.destroy()
    await api.createNamespace(`closed-${i}`)
    await waitFor('the namespace', () => now.mirror.get(`closed-${i}`) !== undefined)
  }
  assert.equal(proxy.seen.filter(url => url.includes('limit=')).length, 0)
  assert.ok((await now.restarts('failed')) >= 5)
})

test('a watch that the server ends in order goes on without a word', async () => {
  await using now = await copy({ watchSeconds: [2, 2] })
  proxy.seen.length = 0
  await waitFor('a second watch', () => proxy.seen.filter(url => url.includes('watch=true')).length >= 1)
  await api.createNamespace('in-order')
  await waitFor('the namespace', () => now.mirror.get('in-order') !== undefined)
  assert.equal(await now.restarts('failed'), 0)
})

test('a version that the server has forgotten (410) makes a new list, which also tells what went', async () => {
  await using now = await copy()
  await api.createNamespace('goes')
  await waitFor('the namespace', () => now.mirror.get('goes') !== undefined)
  let spoiled = 0
  proxy.answer = ({ url }) => {
    if (!url.includes('watch=true') || spoiled >= 3) return undefined
    spoiled++
    return { status: 410, body: { code: 410, reason: 'Expired', message: 'too old' } }
  }
  for (const stream of proxy.streams) stream.destroy()
  await remove('goes')
  await waitFor('the end', () => now.mirror.get('goes') === undefined)
  assert.ok(now.changes.includes('-goes'))
  await waitFor('restarts', async () => (await now.restarts('expired')) >= 1)
  proxy.answer = () => undefined
})

test('too many requests (429) and errors (500) are waited out as the server asks', async () => {
  const times: number[] = []
  proxy.answer = ({ url }) => {
    if (!url.includes('limit=') || times.length >= 3) return undefined
    times.push(performance.now())
    return times.length === 1
      ? { status: 429, headers: { 'retry-after': '1' } }
      : { status: 500, body: { message: 'etcd' } }
  }
  await using now = await copy()
  proxy.answer = () => undefined
  assert.ok(now.mirror.isSynced())
  assert.ok(times[1] - times[0] >= 990, 'Retry-After was not kept')
})

test('a server that is half-open is noticed', async () => {
  await using now = await copy({ idleMs: 1000 })
  proxy.freeze()
  await api.createNamespace('half-open')
  await sleep(1500)
  proxy.thaw()
  for (const stream of proxy.streams) if (stream.writableEnded) stream.destroy()
  await waitFor('the namespace', () => now.mirror.get('half-open') !== undefined, { limitSeconds: 60 })
})

test('a server that was away is followed again, and what happened meanwhile is told', async () => {
  await using now = await copy()
  await api.stop()
  await sleep(1000)
  assert.ok(now.mirror.size() > 0, 'what was known stays known')
  await api.start()
  await api.createNamespace('after')
  await waitFor('the namespace', () => now.mirror.get('after') !== undefined)
})

test('everything is listed anew from time to time, whatever the watch said', async () => {
  await using now = await copy({ relistMs: 500, watchSeconds: [1, 1] })
  const { length } = now.changes
  proxy.seen.length = 0
  await waitFor('a list', () => proxy.seen.some(url => url.includes('limit=')))
  assert.equal(now.changes.length, length, 'nothing changed, so nothing is told')
})

test('a conditional write holds only for what was read', async () => {
  const object = (await getObject(api.admin, NAMESPACES, { name: 'default' })) as Namespace
  const patch = (label: string): Promise<Namespace> =>
    patchObject(
      api.admin,
      NAMESPACES,
      { name: 'default' },
      { metadata: { resourceVersion: object.metadata.resourceVersion, labels: { label } } },
    )
  await patch('first')
  await assert.rejects(patch('second'), { code: 'conflict' })
  await assert.rejects(createObject(api.admin, NAMESPACES, { metadata: { name: 'default' } }), { code: 'exists' })
  await assert.rejects(deleteObject(api.admin, NAMESPACES, object), { code: 'conflict' })
  assert.equal(await getObject(api.admin, NAMESPACES, { name: 'none' }), undefined)
})

test('a queue works on a key once at a time, again if it was added meanwhile, and later if it failed', async () => {
  const log: string[] = []
  let running = 0
  let failures = 2
  await using queue = createQueue(
    async key => {
      assert.equal(++running, 1, 'one worker for one key')
      log.push(key)
      await sleep(20)
      running--
      if (failures-- > 0) throw new Error('not yet')
      return undefined
    },
    { name: 'test', workers: 4, backoffMs: [10, 20], log: quiet() },
  )
  queue.add('a')
  await sleep(5)
  queue.add('a')
  queue.add('a')
  await waitFor('four runs', () => log.length >= 3 && running === 0)
  await sleep(200)
  assert.ok(log.length >= 3 && log.length <= 4, `${log.length} runs`)
})
