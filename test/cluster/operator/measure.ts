import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createObject, patchObject } from '../../../src/kube/client/objects.ts'
import { objectName } from '../../../src/kube/resources/names.ts'
import { STRATUM_COMMITS, STRATUM_LABELS } from '../../../src/kube/resources/stratum.ts'
import { waitFor } from '../support/wait.ts'
import { HOME, startApi } from './support/api.ts'
import { ask, ended, startNode } from './support/node-lab.ts'

/**
 * What the operator costs, by hand: `node test/cluster/operator/measure.ts [requests] [labels]`. Memory of the controller with many objects, time from
 * the creation of a StratumCommit to Ready, commits a minute, calls of an idle node.
 */
const [requests = '20000', labels = '5000'] = process.argv.slice(2)
await using api = await startApi()
const { admin } = api
await api.createNamespace('team-a')
await api.createNode('node-1')

console.log(`making ${labels} StratumLabels and ${requests} StratumCommits …`)
await inParallel(Number(labels), async i => {
  const name = `label-${i}`
  const key = { namespace: 'team-a', name: objectName(name) }
  await createObject(admin, STRATUM_LABELS, { metadata: key, spec: { label: name } })
  const commitId = 'a'.repeat(64)
  const tags = Array.from({ length: 20 }, (_, t) => ({ name: `v${t}`, commitId, time: '2026-01-01T00:00:00Z' }))
  const status = { holder: { nodeName: 'node-1', storeId: 's' }, tagCount: 20, tags, nodes: [{ nodeName: 'node-1' }] }
  await patchObject(admin, STRATUM_LABELS, key, { status }, { subresource: 'status' })
})
const conditions = ['Ready', 'Accepted', 'Committed', 'Tagged', 'Stalled'].map(type => ({
  type,
  status: 'True',
  reason: 'Completed',
  message: 'commit 0123456789ab, tagged v1',
  lastTransitionTime: '2026-01-01T00:00:00Z',
}))
await inParallel(Number(requests), async i => {
  const key = { namespace: 'team-a', name: `request-${i}` }
  const spec = { label: `label-${i % Number(labels)}`, tags: [{ name: `v${i}` }], message: 'nightly' }
  const metadata = { ...key, finalizers: ['stratum.dev/tags'] }
  await createObject(admin, STRATUM_COMMITS, { metadata, spec: spec as never })
  const status = {
    nodeName: 'node-1',
    commitId: 'b'.repeat(64),
    completionTime: '2026-01-01T00:00:00Z',
    conditions,
    tagNames: `v${i}`,
  }
  await patchObject(admin, STRATUM_COMMITS, key, { status }, { subresource: 'status' })
})

const controller = await startController()
await waitFor('the lists', async () => Number(await metric(controller.port, 'stratum_leader')) === 1)
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

async function inParallel(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) await work(i)
  }
  await Promise.all(Array.from({ length: 32 }, worker))
}
