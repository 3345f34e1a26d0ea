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
  readonly scrubbedBytes: Counter
  readonly scrubFindings: Counter<'severity'>
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
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[] = []): Gauge<Label> =>
    new Gauge({ name: `stratum_${name}`, help, labelNames, registers })
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[] = []): Counter<Label> =>
    new Counter({ name: `stratum_${name}`, help, labelNames, registers })
  const seconds = <Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: Label[] = [],
  ): Histogram<Label> => new Histogram({ name: `stratum_${name}`, help, buckets, labelNames, registers })
  return {
    registry,
    rpcSeconds: seconds('csi_rpc_duration_seconds', 'Time of CSI calls', RPC_BUCKETS, ['method', 'code']),
    rpcsInFlight: gauge('csi_rpcs_in_flight', 'CSI calls under way', ['method']),
    published: gauge('published_targets', 'Targets that a volume is mounted at', ['kind']),
    orphanedTargets: gauge('orphaned_targets', 'Targets whose pod seems to be gone'),
    commitSeconds: seconds('commit_duration_seconds', 'Time of commits of a HEAD', COMMIT_BUCKETS, [
      'consistency',
      'result',
    ]),
    commitPauseSeconds: seconds('commit_pause_seconds', 'Time that writers stood still for a commit', PAUSE_BUCKETS),
    folds: counter('folds_total', 'HEADs that got a new base', ['result']),
    collectSeconds: seconds('gc_duration_seconds', 'Time of garbage collections', COMMIT_BUCKETS, ['result']),
    collectedBytes: counter('gc_freed_bytes_total', 'Bytes that were freed'),
    scrubbedBytes: counter('scrubbed_bytes_total', 'Bytes of objects whose content was checked in the background'),
    scrubFindings: counter('scrub_findings_total', 'What the check in the background found', ['severity']),
    storeBytes: gauge('store_file_system_bytes', 'The file system of the store', ['kind']),
    eventLoopLag: gauge('event_loop_lag_seconds', 'How late the event loop runs'),
  }
}

/** What everybody who talks to the API server measures, and the controller alone. */
export interface ClusterMetrics {
  readonly apiRequests: Counter<'verb' | 'code'>
  readonly watchReconnects: Counter<'reason'>
  readonly relists: Counter
  readonly queueDepth: Gauge<'queue'>
  readonly queueWaitSeconds: Histogram<'queue'>
  readonly queueWorkSeconds: Histogram<'queue'>
  readonly queueRetries: Counter<'queue'>
  readonly requestSeconds: Histogram<'result'>
}

export interface ControllerMetrics {
  readonly leader: Gauge
  readonly leaderTransitions: Counter
  readonly requestsOpen: Gauge
  readonly requestOldestSeconds: Gauge
  readonly holdersLost: Gauge
}

const QUEUE_BUCKETS = [0.001, 0.01, 0.1, 0.5, 1, 5, 30, 120]

export function createClusterMetrics(registry: Registry): ClusterMetrics {
  const registers = [registry]
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[] = []): Counter<Label> =>
    new Counter({ name: `stratum_${name}`, help, labelNames, registers })
  const seconds = <Label extends string>(name: string, help: string, labelNames: Label[]): Histogram<Label> =>
    new Histogram({ name: `stratum_${name}`, help, buckets: QUEUE_BUCKETS, labelNames, registers })
  return {
    apiRequests: counter('api_requests_total', 'Requests to the API server; a watch is one', ['verb', 'code']),
    watchReconnects: counter('watch_reconnects_total', 'Watches that ended before their time', ['reason']),
    relists: counter('relists_total', 'Lists that were read anew because a watch had lost its place'),
    queueDepth: new Gauge({
      name: 'stratum_workqueue_depth',
      help: 'Objects that wait for work',
      labelNames: ['queue'],
      registers,
    }),
    queueWaitSeconds: seconds('workqueue_wait_seconds', 'How long objects waited for work', ['queue']),
    queueWorkSeconds: seconds('workqueue_work_seconds', 'How long the work on an object took', ['queue']),
    queueRetries: counter('workqueue_retries_total', 'Objects that came back after an error', ['queue']),
    requestSeconds: new Histogram({
      name: 'stratum_request_seconds',
      help: 'From the creation of a StratumCommit to its end',
      buckets: COMMIT_BUCKETS,
      labelNames: ['result'],
      registers,
    }),
  }
}

export function createControllerMetrics(registry: Registry): ControllerMetrics {
  const registers = [registry]
  const gauge = (name: string, help: string): Gauge => new Gauge({ name: `stratum_${name}`, help, registers })
  return {
    leader: gauge('leader', 'Whether this replica leads'),
    leaderTransitions: new Counter({
      name: 'stratum_leader_transitions_total',
      help: 'How often this replica began to lead',
      registers,
    }),
    requestsOpen: gauge('requests_open', 'StratumCommits that have not ended'),
    requestOldestSeconds: gauge('request_oldest_seconds', 'Age of the oldest StratumCommit that has not ended'),
    holdersLost: gauge('holders_lost', 'Labels whose HEAD is on a node that is gone or not ready'),
  }
}
