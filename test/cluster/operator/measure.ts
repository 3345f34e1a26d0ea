import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createObject, type KubeObject, patchObject, type Resource } from '../../../src/kube/client/objects.ts'
import { FINALIZER, STRATUM_COMMITS, STRATUM_LABELS } from '../../../src/kube/resources/stratum.ts'
import { waitFor } from '../support/wait.ts'
import { HOME, startApi } from './support/api.ts'
import { ask, ended, request, startNode, verdict } from './support/node-lab.ts'

/**
 * What the operator costs, by hand: `node test/cluster/operator/measure.ts [requests] [labels]`. Memory of the controller with many objects, time from
 * the creation of a StratumCommit to Ready, commits a minute, calls of an idle node.
 */
const [requests = '20000', labels = '5000'] = process.argv.slice(2)
/** Objects are written to etcd so many at once; its limit is 128. */
const AT_ONCE = 100
await using api = await startApi()
const { admin } = api
await api.createNamespace('team-a')
await api.createNode('node-1')

console.log(`making ${labels} StratumLabels and ${requests} StratumCommits …`)
const commitId = 'a'.repeat(64)
await make(STRATUM_LABELS, 'label-0', { label: 'label-0' }, () => {
  const tags = Array.from({ length: 20 }, (_, t) => ({ name: `v${t}`, commitId, time: '2026-01-01T00:00:00Z' }))
  return { holder: { nodeName: 'node-1', storeId: 's' }, tagCount: 20, tags, nodes: [{ nodeName: 'node-1' }] }
})
const conditions = ['Ready', 'Accepted', 'Committed', 'Tagged', 'Stalled'].map(type => ({
  type,
  status: 'True',
  reason: 'Completed',
  message: 'commit 0123456789ab, tagged v1',
  lastTransitionTime: '2026-01-01T00:00:00Z',
}))
const wish = { label: 'label-0', tags: [{ name: 'v0' }], message: 'nightly' }
await make(STRATUM_COMMITS, 'request-0', wish, () => ({
  nodeName: 'node-1',
  commitId,
  parentId: commitId,
  merkleRoot: commitId,
  size: { files: 1000, bytes: 1_000_000, filesChanged: 10, bytesAdded: 10_000 },
  tags: [{ name: 'v0', state: 'Created' }],
  completionTime: '2026-01-01T00:00:00Z',
  conditions,
  tagNames: 'v0',
}))
await api.stop() // it expects that no two objects are written at once
await multiply('stratumlabels', 'label-0', Number(labels), ({ spec }, i) => ({
  spec: { ...spec, label: `label-${i}` },
}))
await multiply('stratumcommits', 'request-0', Number(requests), ({ spec }, i) => ({
  spec: { ...spec, label: `label-${i % Number(labels)}`, tags: [{ name: `v${i}` }] },
}))

await api.start()
const controller = await startController()
// It answers when it has read everything.
await ask(api, 'team-a', 'unknown', { label: 'unknown', deadlineSeconds: 86_400 })
await waitFor(
  'the controller',
  async () => {
    const object = await request(api, 'team-a', 'unknown')
    return object !== undefined && verdict(object, 'Accepted') === 'False UnknownLabel'
  },
  { limitSeconds: 900 },
)
await sleep(20_000)
console.log(`controller with ${requests} requests and ${labels} labels: ${memoryMiB(controller.pid)} MiB resident`)
const before = await metric(controller.port, 'stratum_api_requests_total')
await sleep(30_000)
console.log(
  `idle controller: ${((Number(await metric(controller.port, 'stratum_api_requests_total')) - Number(before)) / 30).toFixed(2)} calls a second`,
)

await using node = await startNode(api, 'node-1')
const head = await node.head('team-a/web')
const times: number[] = []
for (let i = 0; i < 50; i++) {
  fs.writeFileSync(`${head}/file`, `content ${i}`)
  const begun = performance.now()
  await ask(api, 'team-a', `timed-${i}`, { label: 'web', consistency: 'Live', tags: [{ name: `t${i}` }] })
  await ended(api, 'team-a', `timed-${i}`)
  times.push(performance.now() - begun)
}
times.sort((a, b) => a - b)
console.log(
  `from creation to Ready: median ${times[25].toFixed(0)} ms, slowest of 50 ${times[49].toFixed(0)} ms (polled every 50 ms)`,
)
console.log(`this process, with the node's part: ${memoryMiB(process.pid)} MiB resident`)
controller.stop()
process.exit(0)

async function startController(): Promise<{ pid: number; port: number; stop(): void }> {
  const access = await api.as('controller')
  const folder = path.join(api.folder, 'account')
  fs.mkdirSync(folder)
  fs.writeFileSync(`${folder}/token`, access.server.token() ?? '')
  fs.writeFileSync(`${folder}/ca.crt`, access.server.ca ?? '')
  fs.writeFileSync(`${folder}/namespace`, HOME)
  const env = {
    ...process.env,
    KUBERNETES_SERVICE_HOST: '127.0.0.1',
    KUBERNETES_SERVICE_PORT: String(api.port),
    STRATUM_SERVICE_ACCOUNT: folder,
  }
  const bin = path.resolve(import.meta.dirname, '../../../bin/stratum')
  const child = spawn(bin, ['controller', '--http', '127.0.0.1:0'], { env, stdio: ['ignore', 'inherit', 'pipe'] })
  let log = ''
  child.stderr.on('data', (piece: Buffer) => (log += piece.toString()))
  await Promise.race([waitFor('the controller', () => /"address":"[^"]*:(\d+)"/.test(log)), once(child, 'exit')])
  const port = Number(/"address":"[^"]*:(\d+)"/.exec(log)?.[1])
  return { pid: child.pid ?? 0, port, stop: () => child.kill('SIGTERM') }
}

async function metric(port: number, name: string): Promise<string> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const values = [...text.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'))].map(([, value]) => Number(value))
  return String(values.reduce((sum, value) => sum + value, 0))
}

function memoryMiB(pid: number): number {
  const [, pages] = fs.readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
  return Math.round((Number(pages) * 4096) / 2 ** 20)
}

async function make(resource: Resource<KubeObject>, name: string, spec: object, statusOf: () => object): Promise<void> {
  const metadata = { namespace: 'team-a', name, finalizers: resource === STRATUM_COMMITS ? [FINALIZER] : [] }
  await createObject(admin, resource, { metadata, spec } as never)
  const key = { namespace: 'team-a', name }
  await patchObject(admin, resource, key, { status: statusOf() }, { subresource: 'status' })
}

interface Stored {
  readonly metadata: object
  readonly spec: object
}

/**
 * Copies an object in etcd, as it is stored there, until there are so many: to make them through the API server, each with its policies, would take as
 * long as all else.
 */
async function multiply(
  plural: string,
  name: string,
  count: number,
  change: (object: Stored, i: number) => object,
): Promise<void> {
  const keyOf = (each: string): string =>
    Buffer.from(`/registry/stratum.dev/${plural}/team-a/${each}`).toString('base64')
  const { kvs } = (await etcd('range', { key: keyOf(name) })) as { kvs: { value: string }[] }
  const stored = JSON.parse(Buffer.from(kvs[0].value, 'base64').toString()) as Stored
  const [kind] = name.split('-')
  const put = (i: number): object => {
    const metadata = { ...stored.metadata, name: `${kind}-${i}`, uid: randomUUID() }
    const value = Buffer.from(JSON.stringify({ ...stored, ...change(stored, i), metadata })).toString('base64')
    return { request_put: { key: keyOf(`${kind}-${i}`), value } }
  }
  for (let from = 1; from < count; from += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, n) => from + n)
    await etcd('txn', { success: numbers.map(put) })
  }
}

async function etcd(what: string, body: object): Promise<unknown> {
  const answer = await fetch(`${api.etcd}/v3/kv/${what}`, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(await answer.text())
  return answer.json()
}
