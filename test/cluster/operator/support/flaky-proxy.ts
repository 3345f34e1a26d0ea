import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type net from 'node:net'
import type { ApiServer } from '../../../../src/kube/client/api-server.ts'

/** Stands between a client and the real API server and spoils what it is told to. */
export interface FlakyProxy extends AsyncDisposable {
  /** The server as the client is to see it. */
  readonly server: ApiServer
  /** Every request is shown here; what this returns is answered instead. */
  answer: (request: {
    method: string
    url: string
  }) => { status: number; headers?: Record<string, string>; body?: object } | undefined
  /** Streams that are open. */
  readonly streams: Set<http.ServerResponse>
  /** From now on nothing goes through, in either direction, and nobody is told: the other machine has lost its power. */
  freeze(): void
  thaw(): void
  /** Requests so far, as `GET /path?query`. */
  readonly seen: string[]
}

export async function startProxy(target: ApiServer): Promise<FlakyProxy> {
  const streams = new Set<http.ServerResponse>()
  let frozen = false
  const proxy: FlakyProxy = {
    server: { address: { socketPath: '' }, ca: undefined, token: target.token },
    answer: () => undefined,
    streams,
    seen: [],
    freeze: () => void (frozen = true),
    thaw: () => void (frozen = false),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  const server = http.createServer((request, response) => {
    const { method = 'GET', url = '/' } = request
    proxy.seen.push(`${method} ${url}`)
    if (frozen) return // no answer, ever
    const spoiled = proxy.answer({ method, url })
    if (spoiled !== undefined) {
      request.resume()
      response.writeHead(spoiled.status, { 'content-type': 'application/json', ...spoiled.headers })
      response.end(JSON.stringify({ kind: 'Status', ...spoiled.body }))
      return
    }
    const { address, ca = '' } = target
    const forward = https.request(
      { ...address, ca, method, path: url, headers: { ...request.headers, host: '127.0.0.1' } },
      answer => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        streams.add(response)
        answer.on('data', (piece: Buffer) => frozen || response.write(piece))
        answer.on('end', () => frozen || response.end())
        response.once('close', () => {
          streams.delete(response)
          answer.destroy()
        })
      },
    )
    forward.on('error', () => response.destroy())
    request.pipe(forward)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  Object.assign(proxy.server, { address: { host: '127.0.0.1', port } })
  return proxy
}
