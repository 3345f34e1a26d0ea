import { once } from 'node:events'
import { hostname } from 'node:os'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../telemetry/log.ts'
import type { ControllerMetrics } from '../telemetry/metrics.ts'
import type { ApiServer } from './client/api-server.ts'
import { createRecorder } from './client/events.ts'
import { type ElectionTiming, leadWhenElected } from './client/lease.ts'
import type { MirrorTiming } from './client/mirror.ts'
import { createQueue, type WorkQueue } from './client/queue.ts'
import { lookAtClaim } from './controller/look-at-claim.ts'
import { countLost, lookAtLabel } from './controller/look-at-label.ts'
import { watchSnapshots } from './controller/watch-snapshots.ts'
import { lookAtNode } from './controller/look-at-node.ts'
import { lookAtRequest } from './controller/look-at-request.ts'
import { type ControllerContext, GONE_AFTER_MS, openWorld, synced, type World } from './controller/world.ts'

export interface ControllerOptions {
  readonly server: ApiServer
  /** The namespace that Stratum is installed in, where the Lease is. */
  readonly namespace: string
  readonly leaseName: string
  /** Names this replica in the Lease. One that is the same after a restart, as a pod's name is, need not wait for its predecessor's lease. */
  readonly identity?: string | undefined
  readonly log: Logger
  readonly metrics: ControllerMetrics
  /** For tests. */
  readonly timing?: {
    readonly mirror?: Partial<MirrorTiming>
    readonly election?: ElectionTiming
    readonly goneAfterMs?: number
  }
}

const BACKOFF_MS = [250, 300_000] as const
const MEASURE_MS = 15_000

/** Runs until the signal comes: waits to be elected, works, and waits again if the lease was lost. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { server: plain, namespace, leaseName, log, metrics, timing } = options
  const server: ApiServer = { ...plain, onAnswer: (verb, code) => metrics.apiRequests.inc({ verb, code }) }
  const identity = options.identity ?? `${hostname()}_${randomUUID()}`
  const record = createRecorder(server, 'stratum-controller', undefined, log)
  const context: ControllerContext = { server, home: namespace, log, metrics, record }
  const election = {
    namespace,
    name: leaseName,
    identity,
    log,
    signal,
    ...(timing?.election === undefined ? {} : { timing: timing.election }),
  }
  while (!signal.aborted) {
    await leadWhenElected(server, election, async leading => {
      metrics.leader.set(1)
      metrics.leaderTransitions.inc()
      await lead(context, timing, leading)
      metrics.leader.set(0)
    })
  }
}

type Look = (context: ControllerContext, world: World, key: string, signal: AbortSignal) => Promise<number | undefined>

async function lead(
  context: ControllerContext,
  timing: ControllerOptions['timing'],
  signal: AbortSignal,
): Promise<void> {
  const { log, metrics } = context
  const queueOf = (name: string, look: Look, workers: number): WorkQueue => {
    const work = async (key: string, closing: AbortSignal): Promise<number | undefined> => {
      await synced(world) // what is missing may only not be read yet
      return look(context, world, key, closing)
    }
    return createQueue(work, { name, workers, backoffMs: BACKOFF_MS, log, metrics })
  }
  await using requests = queueOf('requests', lookAtRequest, 8)
  await using labels = queueOf('labels', lookAtLabel, 2)
  await using nodes = queueOf('nodes', lookAtNode, 1)
  await using claims = queueOf('claims', lookAtClaim, 2)
  const options = {
    ...context,
    timing: timing?.mirror,
    onRequest: (key: string) => requests.add(key),
    onLabel(key: string) {
      labels.add(key)
      for (const request of world.requestsFor(key)) requests.add(request)
    },
    onNode(name: string, isChanged: boolean) {
      nodes.add(name)
      if (isChanged) noteNode(world, name, { labels, requests })
    },
    onClaim: (key: string) => claims.add(key),
  }
  await using world = openWorld(options, timing?.goneAfterMs ?? GONE_AFTER_MS)
  await Promise.race([synced(world), once(signal, 'abort')])
  const snapshots = watchSnapshots(context, world, signal)
  while (!signal.aborted) {
    measure(context, world)
    await sleep(MEASURE_MS, undefined, { signal }).catch(() => undefined)
  }
  await snapshots
}

/** A node came to be ready, or is no longer: what is on it is looked at again. */
function noteNode(world: World, name: string, { labels, requests }: Record<'labels' | 'requests', WorkQueue>): void {
  for (const { metadata, status } of world.labels.values()) {
    const isOnIt = [status?.holder, ...(status?.nodes ?? [])].some(entry => entry?.nodeName === name)
    const key = `${metadata.namespace}/${metadata.name}`
    if (!isOnIt) continue
    labels.add(key)
    for (const request of world.requestsFor(key)) requests.add(request)
  }
}

function measure({ metrics }: ControllerContext, world: World): void {
  const open = [...world.requests.values()].filter(
    ({ spec, status }) => status?.completionTime === undefined && !spec.suspend,
  )
  const oldest = Math.min(Date.now(), ...open.map(({ metadata }) => Date.parse(metadata.creationTimestamp)))
  metrics.requestsOpen.set(open.length)
  metrics.requestOldestSeconds.set(Math.max(0, (Date.now() - oldest) / 1000))
  metrics.holdersLost.set(countLost(world))
}
