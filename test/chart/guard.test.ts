import assert from 'node:assert/strict'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { findUsers } from '../../charts/stratum/files/guard.ts'

/** The guard asks a server over HTTP that gives lists out in pages of two, as the API server does in pages of 500. */
const OURS = 'stratum.csi.dev'
const TOKEN = 'a-token'

const volume = (name: string, driver: string): object => ({ metadata: { name }, spec: { csi: { driver } } })
const claim = (namespace: string, name: string, volumeName?: string): object => ({
  metadata: { namespace, name },
  spec: { volumeName },
})
const pod = (name: string, volumes: readonly object[] | undefined, phase = 'Running'): object => ({
  metadata: { namespace: 'a', name },
  spec: { volumes },
  status: { phase },
})
const mounts = (claimName: string): object => ({ name: 'v', persistentVolumeClaim: { claimName } })

test('pods that use a volume of ours in any way are found, others are not', async () => {
  await using server = await serve({
    persistentvolumes: [volume('pv-1', OURS), volume('pv-2', OURS), volume('pv-3', 'other.csi.dev')],
    persistentvolumeclaims: [
      claim('a', 'data', 'pv-1'),
      claim('a', 'generic-v', 'pv-2'),
      claim('a', 'theirs', 'pv-3'),
      claim('a', 'unbound'),
      claim('b', 'elsewhere', 'pv-1'),
    ],
    pods: [
      pod('by-claim', [mounts('data')]),
      pod('pending', [mounts('data')], 'Pending'),
      pod('generic', [{ name: 'v', ephemeral: {} }]),
      pod('inline', [{ name: 'w', csi: { driver: OURS } }]),
      pod('ended', [mounts('data')], 'Succeeded'),
      pod('failed', [mounts('data')], 'Failed'),
      pod('other-driver', [mounts('theirs'), { name: 'w', csi: { driver: 'other.csi.dev' } }]),
      pod('other-namespace', [mounts('elsewhere')]),
      pod('unbound', [mounts('unbound')]),
      pod('no-volumes', undefined),
    ],
  })
  const { users, volumes } = await findUsers(server.url, TOKEN)
  assert.deepEqual(users, ['a/by-claim (v)', 'a/pending (v)', 'a/generic (v)', 'a/inline (w)'])
  assert.equal(volumes, 2)
})

test('what cannot be read is an error, and no reason to go on', async () => {
  await using server = await serve({ persistentvolumes: [], persistentvolumeclaims: [], pods: [] })
  await assert.rejects(findUsers(server.url, 'another'), /403 forbidden/)
})

async function serve(lists: Readonly<Record<string, readonly object[]>>): Promise<AsyncDisposable & { url: string }> {
  const server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://x')
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      response.writeHead(403).end('forbidden')
      return
    }
    const all = lists[pathname.replace('/api/v1/', '')]
    const from = Number(searchParams.get('continue'))
    const metadata = from + 2 < all.length ? { continue: String(from + 2) } : {}
    response.end(JSON.stringify({ items: all.slice(from, from + 2), metadata }))
  })
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
