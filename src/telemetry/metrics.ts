import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** What is measured; docs/metrics.md says what each is for. Labels have few values: never a volume, label or path. */
export interface Metrics {
  readonly registry: Registry
  readonly rpcSeconds: Histogram<'method' | 'code'>
  readonly rpcsInFlight: Gauge<'method'>
  readonly published: Gauge<'kind'>
  readonly orphanedTargets: Gauge
  readonly commitSeconds: Histogram<'consistency' | 'result'>
  readonly commitPauseSeconds: Histogram
  readonly folds: Counter<'result'>
  readonly collectSeconds: Histogram<'result'>
  readonly collectedBytes: Counter
  readonly storeBytes: Gauge<'kind'>
  readonly eventLoopLag: Gauge
}

const RPC_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60]
const COMMIT_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const PAUSE_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'stratum_' })
  return {
    registry,
    rpcSeconds: new Histogram({
      name: 'stratum_csi_rpc_duration_seconds',
      help: 'Time of CSI calls',
      labelNames: ['method', 'code'],
      buckets: RPC_BUCKETS,
      registers,
    }),
    rpcsInFlight: new Gauge({
      name: 'stratum_csi_rpcs_in_flight',
      help: 'CSI calls under way',
      labelNames: ['method'],
      registers,
    }),
    published: new Gauge({
      name: 'stratum_published_targets',
      help: 'Targets that a volume is mounted at',
      labelNames: ['kind'],
      registers,
    }),
    orphanedTargets: new Gauge({
      name: 'stratum_orphaned_targets',
      help: 'Targets whose pod seems to be gone',
      registers,
    }),
    commitSeconds: new Histogram({
      name: 'stratum_commit_duration_seconds',
      help: 'Time of commits of a HEAD',
      labelNames: ['consistency', 'result'],
      buckets: COMMIT_BUCKETS,
      registers,
    }),
    commitPauseSeconds: new Histogram({
      name: 'stratum_commit_pause_seconds',
      help: 'Time that writers stood still for a commit',
      buckets: PAUSE_BUCKETS,
      registers,
    }),
    folds: new Counter({
      name: 'stratum_folds_total',
      help: 'HEADs that got a new base',
      labelNames: ['result'],
      registers,
    }),
    collectSeconds: new Histogram({
      name: 'stratum_gc_duration_seconds',
      help: 'Time of garbage collections',
      labelNames: ['result'],
      buckets: COMMIT_BUCKETS,
      registers,
    }),
    collectedBytes: new Counter({ name: 'stratum_gc_freed_bytes_total', help: 'Bytes that were freed', registers }),
    storeBytes: new Gauge({
      name: 'stratum_store_file_system_bytes',
      help: 'The file system of the store',
      labelNames: ['kind'],
      registers,
    }),
    eventLoopLag: new Gauge({
      name: 'stratum_event_loop_lag_seconds',
      help: 'How late the event loop runs',
      registers,
    }),
  }
}
