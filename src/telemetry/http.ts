import http from 'node:http'
import type { Registry } from 'prom-client'

/** What /healthz and /readyz answer: undefined is well, text says what is wrong. */
export interface Health {
  alive(): string | undefined
  ready(): string | undefined
}

export interface HttpServer extends AsyncDisposable {
  readonly address: string
}

/** Serves /healthz, /readyz and /metrics. @param address `host:port`, `:port`; port 0 takes a free one */
export async function serveHttp(address: string, registry: Registry, health: Health): Promise<HttpServer> {
  const server = http.createServer((request, response) => {
    void answer(request, registry, health).then(({ status, type, body }) => {
      response.writeHead(status, { 'content-type': type })
      response.end(body)
    })
  })
  const at = address.lastIndexOf(':')
  const host = address.slice(0, at).replace(/^\[|\]$/g, '')
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(Number(address.slice(at + 1)), host === '' ? undefined : host, resolve)
  })
  const bound = server.address()
  return {
    address: typeof bound === 'object' && bound !== null ? `${host || '127.0.0.1'}:${bound.port}` : address,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

interface Answer {
  status: number
  type: string
  body: string
}

async function answer({ url, method }: http.IncomingMessage, registry: Registry, health: Health): Promise<Answer> {
  const text = (status: number, body: string): Answer => ({
    status,
    type: 'text/plain; charset=utf-8',
    body: `${body}\n`,
  })
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET')
  switch ((url ?? '').split('?')[0]) {
    case '/healthz':
      return verdict(health.alive())
    case '/readyz':
      return verdict(health.ready())
    case '/metrics':
      return { status: 200, type: registry.contentType, body: await registry.metrics() }
    default:
      return text(404, 'only /healthz, /readyz and /metrics')
  }

  function verdict(trouble: string | undefined): Answer {
    return trouble === undefined ? text(200, 'ok') : text(503, trouble)
  }
}
