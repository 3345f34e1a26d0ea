import type { Store } from '../../store/layout.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { KubeMetrics } from '../../telemetry/metrics.ts'
import type { ApiServer } from '../client/api-server.ts'
import type { Recorder } from '../client/events.ts'

/** What the parts of a node's work in the cluster share. */
export interface NodeContext {
  readonly server: ApiServer
  readonly store: Store
  readonly nodeName: string
  /** The namespace that Stratum is installed in: the StratumLabels of `library/` are there. */
  readonly home: string
  readonly log: Logger
  readonly metrics: KubeMetrics | undefined
  readonly record: Recorder
}
