import v8 from 'node:v8'
import { type InCluster, inClusterServer } from '../kube/client/api-server.ts'
import { runController } from '../kube/run-controller.ts'
import { serveHttp } from '../telemetry/http.ts'
import type { Logger } from '../telemetry/log.ts'
import { createControllerMetrics } from '../telemetry/metrics.ts'

export interface ControllerDaemonOptions {
  /** `host:port` of /healthz, /readyz and /metrics. */
  readonly http: string | undefined
  /** Where Stratum is installed; the pod's own namespace if it is not said. */
  readonly namespace: string | undefined
  readonly leaseName: string
  readonly log: Logger
  /** How the API server is reached; by what kubelet gives a pod if it is not said. */
  readonly cluster?: InCluster
}

/** An event loop that was blocked for so long is not well: the lease cannot be renewed for four times that. */
const BLOCKED_MS = 5_000
const TICK_MS = 1_000
/** The space for new objects stays as it begins, 1 MiB: it grows while everything is listed, and never shrinks. */
const SMALL_NURSERY = '--semi-space-growth-factor=1'

/** Watches over StratumCommits and StratumLabels until the signal comes. @throws unavailable outside of a cluster */
export async function runControllerDaemon(options: ControllerDaemonOptions, signal: AbortSignal): Promise<void> {
  v8.setFlagsFromString(SMALL_NURSERY)
  const { http, leaseName, log } = options
  const cluster = options.cluster ?? inClusterServer()
  const namespace = options.namespace ?? cluster.namespace
  const metrics = createControllerMetrics()
  process.once('uncaughtException', error => {
    log.fatal({ error: error.message, stack: error.stack }, 'a mistake of the program')
    process.exit(1)
  })
  let [blockedMs, last] = [0, performance.now()]
  const ticks = setInterval(() => {
    blockedMs = Math.max(0, performance.now() - last - TICK_MS)
    last = performance.now()
  }, TICK_MS)
  const well = (): string | undefined =>
    blockedMs > BLOCKED_MS ? `the event loop was blocked for ${Math.round(blockedMs)} ms` : undefined
  await using server =
    http === undefined ? undefined : await serveHttp(http, metrics.registry, { alive: well, ready: well })
  log.info({ address: server?.address, namespace, lease: leaseName }, 'waiting to be elected')
  try {
    const identity = process.env.POD_NAME // of one process at a time: kubelet starts a container again when the old one has ended
    await runController({ server: cluster.server, namespace, leaseName, identity, log, metrics }, signal)
  } finally {
    clearInterval(ticks)
    log.info({}, 'stopped')
  }
}
