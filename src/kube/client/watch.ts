import type { IncomingMessage } from 'node:http'
import { StringDecoder } from 'node:string_decoder'
import { apiError, noAnswer } from './api-error.ts'
import type { ApiServer } from './api-server.ts'
import { collectionPath, type KubeObject, type ListOptions, type Resource } from './objects.ts'
import { openStream } from './transport.ts'

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  /** Nothing changed, but the resource version goes on. */
  | { readonly type: 'BOOKMARK'; readonly object: KubeObject }

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string
  /** Seconds after which the server ends the stream in order. */
  readonly timeoutSeconds: number
  /** Milliseconds without a word after which the connection is taken for dead: bookmarks come about every minute. */
  readonly idleMs: number
}

/** A watch begins to answer at once, or the server is not well. */
const OPEN_LIMIT_MS = 10_000

/** What changes after a resource version, until the server ends the stream. @throws gone (410), unavailable */
export async function* watchEvents<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<T>> {
  const { namespace, fieldSelector, labelSelector, resourceVersion, timeoutSeconds, signal } = options
  const path = collectionPath(resource, namespace)
  const query = {
    watch: true,
    allowWatchBookmarks: true,
    resourceVersion,
    timeoutSeconds,
    fieldSelector,
    labelSelector,
  }
  const stream = await openStream(server, { method: 'GET', path, query, signal, limitMs: OPEN_LIMIT_MS })
  try {
    for await (const line of linesOf(stream, options.idleMs)) {
      const event = JSON.parse(line) as WatchEvent<T> | { type: 'ERROR'; object: { code?: number } }
      if (event.type === 'ERROR') throw apiError(event.object.code ?? 500, JSON.stringify(event.object))
      yield event
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw noAnswer(error, `watching ${resource.plural}`)
  } finally {
    stream.destroy()
  }
}

async function* linesOf(stream: IncomingMessage, idleMs: number): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  const watchdog = setTimeout(() => stream.destroy(new Error(`nothing was heard for ${idleMs / 1000} s`)), idleMs)
  let rest = ''
  try {
    for await (const piece of stream as AsyncIterable<Buffer>) {
      watchdog.refresh()
      const lines = (rest + decoder.write(piece)).split('\n')
      rest = lines.pop() ?? ''
      yield* lines.filter(line => line !== '')
    }
  } finally {
    clearTimeout(watchdog)
  }
}
