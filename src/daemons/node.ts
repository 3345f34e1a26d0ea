import { once } from 'node:events'
import { type CallContext, createCallGate } from '../csi/call.ts'
import { controllerMethods } from '../csi/controller.ts'
import { identityMethods } from '../csi/identity.ts'
import { nodeMethods } from '../csi/node.ts'
import { loadProtocols } from '../csi/protocol.ts'
import { serveRegistration } from '../csi/registration.ts'
import type { SocketServer } from '../csi/server.ts'
import { serveServices } from '../csi/services.ts'
import { createVolumeLocks } from '../csi/volume-locks.ts'
import { freeMemorySoon, keepMemorySmall } from '../host/memory.ts'
import type { ClusterNode } from '../kube/connect-node.ts'
import type { Store } from '../store/layout.ts'
import { type HttpServer, serveHttp } from '../telemetry/http.ts'
import type { Logger } from '../telemetry/log.ts'
import { createMetrics, type Metrics } from '../telemetry/metrics.ts'
import { type Claims, NO_CLAIMS } from '../volumes/claims.ts'
import { openVolumes } from '../volumes/recover.ts'
import { tidyAllRecords } from '../volumes/volume-store.ts'
import { type DriverOptions, SOLE_HOLDER, type Volumes } from '../volumes/volumes.ts'
import { type BackgroundOptions, workInBackground } from './background.ts'
import { lockForNode } from './node-lock.ts'

export interface NodeOptions extends Pick<BackgroundOptions, 'collectEveryMs' | 'scrubPeriodMs' | 'sources'> {
  readonly store: Store
  readonly driver: DriverOptions
  /** The socket of the CSI services, at the path where kubelet sees it too: `unix:///csi/csi.sock`. */
  readonly endpoint: string
  /** kubelet's plugins_registry folder; undefined where something else registers the plugin. */
  readonly registrationDir: string | undefined
  /** `host:port` of /healthz, /readyz and /metrics. */
  readonly http: string | undefined
  readonly log: Logger
  /** Whether the API server of the pod's cluster says who holds a label and what claims wish, and has StratumCommits to carry out. */
  readonly cluster: boolean
}

/** Calls under way get so long to end when the plugin is stopped. */
const GRACE_MS = 20_000

/**
 * Serves kubelet until the signal comes: first the store is put in order, then the sockets open. What is mounted stays mounted when it
 * stops, however that happens. @throws busy (another plugin on this store), usage (an endpoint)
 */
export async function runNode(options: NodeOptions, signal: AbortSignal): Promise<void> {
  keepMemorySmall()
  const { store, log } = options
  const state: State = { starting: 'the store is being opened', refused: undefined }
  const metrics = createMetrics()
  process.once('uncaughtException', error => {
    log.fatal({ error: error.message, stack: error.stack }, 'a mistake of the program; what is mounted stays mounted')
    process.exit(1)
  })
  await using _http = await openHttp(options, metrics, state)
  using _lock = await lockForNode(store, signal)
  tidyAllRecords(store)
  const cluster = options.cluster ? await joinCluster(options, metrics) : undefined
  const volumes = await openVolumes(store, options.driver, cluster?.holders ?? SOLE_HOLDER)
  const context: CallContext = { log, metrics, locks: createVolumeLocks(), gate: createCallGate() }
  const servers = await openSockets(options, volumes, context, state, cluster?.claims ?? NO_CLAIMS)
  await using _requests = cluster?.start(volumes)
  state.starting = undefined
  metrics.recoverySeconds.set(process.uptime())
  log.info({ endpoint: options.endpoint, node: options.driver.nodeId, store: store.path }, 'serving')
  freeMemorySoon() // of what the start left
  const background = workInBackground({ ...options, volumes, metrics, signal })
  try {
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    state.starting = 'the plugin is stopping'
    log.info({ calls: context.gate.underWay }, 'stopping')
    for (const server of servers) await server.stop(GRACE_MS)
    await background
    log.info({}, 'stopped')
  }
}

/** Loaded only where it is needed: it costs memory on every node. */
async function joinCluster({ store, driver, log }: NodeOptions, metrics: Metrics): Promise<ClusterNode> {
  const { connectNode } = await import('../kube/connect-node.ts')
  return connectNode({ store, nodeName: driver.nodeId, log, metrics })
}

/** What /readyz and Probe say. */
interface State {
  starting: string | undefined
  /** Why kubelet did not take the plugin. */
  refused: string | undefined
}

function troubleOf({ starting, refused }: State): string | undefined {
  return starting ?? (refused === undefined ? undefined : `kubelet refused the plugin: ${refused}`)
}

async function openHttp({ http, log }: NodeOptions, metrics: Metrics, state: State): Promise<HttpServer | undefined> {
  if (http === undefined) return undefined
  const server = await serveHttp(http, metrics.registry, { alive: () => undefined, ready: () => troubleOf(state) })
  log.info({ address: server.address }, 'http')
  return server
}

/** kubelet is told last, when the services answer. */
async function openSockets(
  options: NodeOptions,
  volumes: Volumes,
  context: CallContext,
  state: State,
  claims: Claims,
): Promise<SocketServer[]> {
  const { endpoint, registrationDir, driver, log } = options
  const protocols = loadProtocols()
  const services = await serveServices(endpoint, protocols, context, {
    identity: identityMethods(driver.name, () => troubleOf(state)),
    controller: controllerMethods(volumes, claims),
    node: nodeMethods(volumes, context.metrics),
  })
  if (registrationDir === undefined) return [services]
  const registration = await serveRegistration(protocols, context, {
    driver: driver.name,
    endpoint,
    folder: registrationDir,
    onStatus(error) {
      state.refused = error
      context.metrics.registered.set(error === undefined ? 1 : 0)
      if (error === undefined) log.info({ driver: driver.name }, 'registered with kubelet')
      else log.error({ driver: driver.name, error }, 'kubelet refused the plugin')
    },
  })
  return [registration, services]
}
