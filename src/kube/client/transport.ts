import http from 'node:http'
import https from 'node:https'
import type { ApiServer } from './api-server.ts'
import { apiError, noAnswer } from './api-error.ts'

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly contentType?: string
  readonly signal?: AbortSignal | undefined
  /** Milliseconds for the whole answer, or for the beginning of a stream. */
  readonly limitMs?: number
}

const LIMIT_MS = 30_000
/** More than a page of the largest objects. */
const ANSWER_BYTES_MAX = 256 << 20

/** One call with its whole answer. @throws what `apiError` makes of a refusal, unavailable */
export async function callApi(server: ApiServer, request: ApiRequest): Promise<unknown> {
  const doing = `${request.method} ${request.path}`
  const limit = AbortSignal.timeout(request.limitMs ?? LIMIT_MS)
  const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal])
  try {
    const response = await send(server, request, signal)
    const text = await readAll(response)
    const status = response.statusCode ?? 0
    if (status >= 300) throw apiError(status, text, response.headers['retry-after'])
    return JSON.parse(text)
  } catch (error) {
    request.signal?.throwIfAborted()
    throw noAnswer(error, doing)
  }
}

/** A call whose answer comes bit by bit. The caller ends the stream. @throws as `callApi` */
export async function openStream(server: ApiServer, request: ApiRequest): Promise<http.IncomingMessage> {
  const doing = `${request.method} ${request.path}`
  const beginning = new AbortController()
  const timer = setTimeout(() => beginning.abort(new Error('it took too long')), request.limitMs ?? LIMIT_MS)
  const signal = request.signal === undefined ? beginning.signal : AbortSignal.any([beginning.signal, request.signal])
  try {
    const response = await send(server, request, signal)
    const status = response.statusCode ?? 0
    if (status >= 300) throw apiError(status, await readAll(response), response.headers['retry-after'])
    return response
  } catch (error) {
    request.signal?.throwIfAborted()
    throw noAnswer(error, doing)
  } finally {
    clearTimeout(timer)
  }
}

/** Connections are kept and used again; a server that is gone without a word is noticed by the limit of the call. */
const AGENT = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) }

function send(server: ApiServer, request: ApiRequest, signal: AbortSignal): Promise<http.IncomingMessage> {
  const { address, ca } = server
  const body = request.body === undefined ? undefined : JSON.stringify(request.body)
  const token = server.token()
  const options: https.RequestOptions = {
    ...address,
    method: request.method,
    path: `${request.path}${queryText(request.query)}`,
    signal,
    headers: {
      accept: 'application/json',
      'user-agent': 'stratum',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined
        ? {}
        : { 'content-type': request.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
    },
  }
  return new Promise((resolve, reject) => {
    const call =
      ca === undefined
        ? http.request({ ...options, agent: AGENT.http }, resolve)
        : https.request({ ...options, ca, agent: AGENT.https }, resolve)
    call.once('error', error => {
      server.onAnswer?.(request.method, 'none')
      reject(error)
    })
    call.once('response', ({ statusCode }) => server.onAnswer?.(request.method, String(statusCode)))
    call.end(body)
  })
}

function queryText(query: ApiRequest['query'] = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined)
  if (given.length === 0) return ''
  return `?${new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString()}`
}

async function readAll(response: http.IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    pieces.push(piece)
    bytes += piece.length
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer is longer than ${ANSWER_BYTES_MAX} bytes`)
  }
  return Buffer.concat(pieces).toString('utf8')
}
