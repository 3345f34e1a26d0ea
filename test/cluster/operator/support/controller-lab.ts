import { runController } from '../../../../src/kube/run-controller.ts'
import type { ElectionTiming } from '../../../../src/kube/client/lease.ts'
import { createControllerMetrics, type ControllerMetrics } from '../../../../src/telemetry/metrics.ts'
import type { ApiServer } from '../../../../src/kube/client/api-server.ts'
import { type Api, HOME } from './api.ts'
import { quiet } from './node-lab.ts'

export interface ControllerLab extends AsyncDisposable {
  readonly metrics: ControllerMetrics
}

/** Missing nodes count as gone at once, and an election takes seconds. */
export const FAST_ELECTION: ElectionTiming = { leaseMs: 3_000, renewLimitMs: 2_000, retryMs: 300 }
const GONE_AFTER_MS = 500

export async function startController(api: Api, server?: ApiServer): Promise<ControllerLab> {
  const stopping = new AbortController()
  const metrics = createControllerMetrics()
  const running = runController(
    {
      server: server ?? (await api.as('controller')).server,
      namespace: HOME,
      leaseName: 'stratum-controller',
      log: quiet(`${api.folder}/controller.log`),
      metrics,
      timing: { mirror: { backoffMs: [50, 500] }, election: FAST_ELECTION, goneAfterMs: GONE_AFTER_MS },
    },
    stopping.signal,
  )
  return {
    metrics,
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await running
    },
  }
}
