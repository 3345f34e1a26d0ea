import { createHash } from 'node:crypto'
import { isStratumError } from '../../errors/stratum-error.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { ApiServer } from './api-server.ts'
import { apiVersion, createObject, keyOf, type KubeObject, patchObject, type Resource } from './objects.ts'

interface Event extends KubeObject {
  readonly involvedObject: {
    readonly apiVersion: string
    readonly kind: string
    readonly name: string
    readonly namespace?: string | undefined
    readonly uid: string
  }
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  readonly source: { readonly component: string; readonly host?: string | undefined }
  readonly reportingComponent: string
  readonly firstTimestamp: string
  readonly lastTimestamp: string
  readonly count: number
}

const EVENTS: Resource<Event> = { group: '', version: 'v1', kind: 'Event', plural: 'events', namespaced: true }
const MESSAGE_CHARACTERS_MAX = 1024
/** Events of objects that have no namespace lie here. */
const DEFAULT_NAMESPACE = 'default'

/** What an Event says. */
export interface Happening {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

/** The object that an Event is about. */
export interface About {
  readonly resource: Resource<KubeObject>
  readonly object: KubeObject
}

/** Tells people, by `kubectl describe`, what happened to an object. Never fails and never waits: an Event that is lost is lost. */
export type Recorder = (about: About, happening: Happening) => void

export function createRecorder(server: ApiServer, component: string, host: string | undefined, log: Logger): Recorder {
  return ({ resource, object }, { type, reason, message }) => {
    const { namespace, name, uid } = object.metadata
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    const cut = message.slice(0, MESSAGE_CHARACTERS_MAX)
    // One name for one thing that happened: when it happens again, the same Event counts it.
    const hash = createHash('sha256').update([component, uid, type, reason, cut].join('\0')).digest('hex').slice(0, 16)
    const event = {
      metadata: { namespace: namespace ?? DEFAULT_NAMESPACE, name: `${name.slice(0, 200)}.${hash}` },
      involvedObject: { apiVersion: apiVersion(resource), kind: resource.kind, name, namespace, uid },
      type,
      reason,
      message: cut,
      source: { component, host },
      reportingComponent: component,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    }
    void record(server, event).catch(error => log.info({ reason, why: (error as Error).message }, 'event lost'))
  }
}

const known = new Map<string, number>()
const KNOWN_MAX = 10_000

async function record(
  server: ApiServer,
  event: Omit<Event, 'metadata'> & { metadata: { namespace: string; name: string } },
): Promise<void> {
  const key = keyOf(event as Event)
  const text = `${key.namespace}/${key.name}`
  const count = (known.get(text) ?? 0) + 1
  if (known.size > KNOWN_MAX) known.clear()
  known.set(text, count)
  try {
    await createObject(server, EVENTS, event)
  } catch (error) {
    if (!isStratumError(error, 'exists')) throw error
    await patchObject(server, EVENTS, key, { lastTimestamp: event.lastTimestamp, count: Math.max(2, count) })
  }
}
