import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { loadProtocols } from '../../src/csi/protocol.ts'
import { connect, createRequest, startNode } from '../support/node-process.ts'
import { createRandom } from '../support/random.ts'
import { createTestStore } from '../support/store.ts'
import { createVolumesLab, good } from '../support/volumes-lab.ts'

const protocols = loadProtocols()

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await sleep(20)
  }
}

function get(address: string, page: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = http.get(`http://${address}${page}`, response => {
      let body = ''
      response.on('data', (piece: Buffer) => (body += piece.toString()))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    request.on('error', reject)
  })
}

test('the socket is root’s alone; one that a dead plugin left is replaced, a file in its place is not', async () => {
  const store = createTestStore()
  const socket = `${store.scratch}/csi.sock`
  const first = await startNode({ store: store.store.path, socket })
  assert.equal(fs.statSync(socket).mode & 0o777, 0o600)
  await first.kill()
  assert.ok(fs.existsSync(socket), 'a kill leaves the socket')
  await using second = await startNode({ store: store.store.path, socket })
  good(await second.call('Identity', 'Probe', {}))
  const file = `${store.scratch}/file.sock`
  fs.writeFileSync(file, 'mine')
  await using refused = await startNode({ store: createTestStore().store.path, socket: file, unready: true })
  assert.equal(await refused.gone, 2)
  assert.equal(fs.readFileSync(file, 'utf8'), 'mine')
})

test('one plugin serves a store; the next one waits for it', async () => {
  const store = createTestStore()
  const first = await startNode({ store: store.store.path, socket: `${store.scratch}/a.sock` })
  await using second = await startNode({ store: store.store.path, socket: `${store.scratch}/b.sock`, unready: true })
  await sleep(1500)
  assert.equal(fs.existsSync(`${store.scratch}/b.sock`), false)
  assert.equal(await first.stop(), 0)
  await until('the second serves', () => second.lines.some(({ msg }) => msg === 'serving'))
})

test('SIGTERM lets calls under way end, refuses new ones, and leaves what is mounted', async () => {
  await using lab = await createVolumesLab()
  const { volume_id } = await lab.createFor('team-a', 'data')
  const target = await lab.publish(volume_id)
  fs.writeFileSync(`${target}/file`, 'kept')
  const under = Array.from({ length: 5 }, (_, i) => lab.call('CreateVolume', createRequest(`pvc-${i}`)))
  await until('calls are under way', () => fs.readdirSync(`${lab.store.store.path}/state/volumes`).length > 1)
  const exit = lab.plugin().stop()
  for (const { code, message } of await Promise.all(under)) assert.ok(['OK', 'UNAVAILABLE'].includes(code), message)
  assert.equal(await exit, 0)
  fs.appendFileSync(`${target}/file`, ' and written')
  const next = await lab.restart()
  assert.equal(fs.readFileSync(`${target}/file`, 'utf8'), 'kept and written')
  for (let i = 0; i < 5; i++) await lab.create(`pvc-${i}`)
  good(await lab.unpublish(volume_id, target))
  assert.ok(next.pid > 0)
})

test('the plugin registers itself with kubelet, and is not ready when kubelet refuses it', async () => {
  const store = createTestStore()
  const folder = `${store.scratch}/plugins_registry`
  fs.mkdirSync(folder)
  const socket = `${store.scratch}/csi.sock`
  const args = ['--registration-dir', folder, '--http', '127.0.0.1:0']
  await using plugin = await startNode({ store: store.store.path, socket, args })
  const registration = `${folder}/stratum.csi.dev-reg.sock`
  await until('kubelet sees the socket', () => fs.existsSync(registration))
  const client = new protocols.registration.Registration(`unix://${registration}`, credentials.createInsecure())
  const info: any = await new Promise((resolve, reject) =>
    client.getInfo({}, (error, response) => (error ? reject(error) : resolve(response))),
  )
  assert.deepEqual(info, {
    type: 'CSIPlugin',
    name: 'stratum.csi.dev',
    endpoint: socket,
    supported_versions: ['1.0.0'],
  })
  const notify = (plugin_registered: boolean, error: string): Promise<void> =>
    new Promise((resolve, reject) =>
      client.notifyRegistrationStatus({ plugin_registered, error }, problem => (problem ? reject(problem) : resolve())),
    )
  const { address } = plugin.lines.find(({ msg }) => msg === 'http') as { address: string }
  assert.equal((await get(address, '/readyz')).status, 200)
  await notify(false, 'another driver has that name')
  const unready = await get(address, '/readyz')
  assert.equal(unready.status, 503)
  assert.match(unready.body, /another driver has that name/)
  assert.equal((await get(address, '/healthz')).status, 200)
  await notify(true, '')
  assert.equal((await get(address, '/readyz')).status, 200)
  assert.match((await get(address, '/metrics')).body, /stratum_store_file_system_bytes\{kind="available"\} \d/)
  client.close()
})

test('calls are counted, and a log line says nothing that could be a secret', async () => {
  await using lab = await createVolumesLab(['--http', '127.0.0.1:0'])
  const secrets = { password: 'hunter2' }
  const { volume_id } = await lab.create('pvc-1', { secrets })
  await lab.snapshot('snapshot-1', volume_id)
  const bad = await lab.call('CreateVolume', createRequest('pvc-2', { secrets, parameters: { colour: 'red' } }))
  assert.equal(bad.code, 'INVALID_ARGUMENT')
  const { address } = lab.plugin().lines.find(({ msg }) => msg === 'http') as { address: string }
  const { body } = await get(address, '/metrics')
  assert.match(body, /csi_rpc_duration_seconds_count\{method="Controller\/CreateVolume",code="OK"\} 1/)
  assert.match(body, /csi_rpc_duration_seconds_count\{method="Controller\/CreateVolume",code="INVALID_ARGUMENT"\} 1/)
  assert.match(body, /commit_duration_seconds_count\{consistency="freeze",result="ok"\} 1/)
  const calls = lab.plugin().lines.filter(({ msg }) => msg === 'call')
  assert.deepEqual(
    calls.map(({ name, code }) => [name, code]),
    [
      ['pvc-1', 'OK'],
      ['snapshot-1', 'OK'],
      ['pvc-2', 'INVALID_ARGUMENT'],
    ],
  )
  assert.doesNotMatch(JSON.stringify(lab.plugin().lines), /hunter2/)
})

test('a client that sends an authority which is none is served', async () => {
  await using lab = await createVolumesLab()
  using client = connect(lab.socket, { 'grpc.default_authority': 'csi.sock' })
  good(await client.call('Identity', 'Probe', {}))
})

test('bytes that are no call, connections that break and authorities that are paths harm nobody', async () => {
  await using lab = await createVolumesLab()
  const random = createRandom(1)
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  for (let i = 0; i < 60; i++) {
    const socket = net.connect(lab.socket)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    socket.write(Buffer.from((i % 2 === 0 ? preface : '') + random.bytes(random.below(500)), 'latin1'))
    if (i % 3 === 0) socket.destroy()
    else socket.end()
  }
  const session = http2.connect('http://localhost', { createConnection: () => net.connect(lab.socket) })
  session.on('error', () => undefined)
  for (const authority of ['/var/lib/kubelet/plugins/stratum.csi.dev/csi.sock', '%2Fcsi%2Fcsi.sock', '']) {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/csi.v1.Identity/Probe',
      ':authority': authority,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    stream.on('error', () => undefined)
    stream.resume()
    stream.end(Buffer.from([0, 0, 0, 0, 0]))
    await new Promise(resolve => stream.once('close', resolve))
  }
  session.destroy()
  good(await lab.plugin().call('Identity', 'Probe', {}))
  assert.deepEqual(
    lab.plugin().lines.filter(({ level }) => level === 'fatal' || level === 'error'),
    [],
  )
})

test('server reflection names every service that is served, and no other', async () => {
  await using lab = await createVolumesLab()
  const file = path.resolve(
    import.meta.dirname,
    '../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
  )
  const { grpc } = loadPackageDefinition(loadSync(file, { keepCase: true })) as any
  const client = new grpc.reflection.v1.ServerReflection(`unix://${lab.socket}`, credentials.createInsecure())
  const stream = client.ServerReflectionInfo()
  const ask = async (request: object): Promise<any> => {
    stream.write(request)
    const [answer] = await once(stream, 'data')
    return answer
  }
  const { list_services_response } = await ask({ list_services: '' })
  const services = list_services_response.service.map(({ name }: { name: string }) => name)
  assert.deepEqual(services, ['csi.v1.Identity', 'csi.v1.Controller', 'csi.v1.Node'])
  const { file_descriptor_response } = await ask({ file_containing_symbol: 'csi.v1.Node.NodePublishVolume' })
  assert.ok(file_descriptor_response.file_descriptor_proto.length > 0)
  stream.end()
  stream.resume()
  await once(stream, 'end')
  client.close()
})

test('garbage is collected in the background', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { file: 'x'.repeat(1000) })
  await store.importFiles('app:v2', { file: 'y'.repeat(1000) })
  await store.removeTag('app:v1')
  const before = fs.readdirSync(`${store.store.path}/commits`).length
  await using _plugin = await startNode({
    store: store.store.path,
    socket: `${store.scratch}/csi.sock`,
    args: ['--gc-interval', '0.01'],
  })
  await until('the commit is gone', () => fs.readdirSync(`${store.store.path}/commits`).length === before - 1)
})

test('the scrub finds an object that rots, and says whose it is', async () => {
  const store = createTestStore()
  await store.importFiles('app:v1', { file: 'x'.repeat(1000) })
  const [object] = fs.globSync('objects/*/*', { cwd: store.store.path })
  const file = path.join(store.store.path, object)
  fs.chmodSync(file, 0o600)
  fs.writeFileSync(file, 'z'.repeat(1000))
  const part = Number.parseInt(object.split('/')[1], 16)
  fs.writeFileSync(`${store.store.path}/state/scrub`, `${part - 1}\n`)
  const plugin = await startNode({ store: store.store.path, socket: `${store.scratch}/csi.sock` })
  await until('it is found', () => plugin.lines.some(({ msg }) => msg === 'damage in the store'))
  assert.match(JSON.stringify(plugin.lines.find(({ msg }) => msg === 'damage in the store')), /app:v1 \/file/)
  await plugin.kill()
})
