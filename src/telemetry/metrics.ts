import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { VERSION } from '../version.ts'

/**
 * What is measured; docs/metrics.md says what each is for, and who sets it. Labels have few values: never a volume, label or path.
 * What `stratum node` measures:
 */
export interface Metrics extends KubeMetrics {
  readonly rpcSeconds: Histogram<'method' | 'code'>
  readonly rpcsInFlight: Gauge<'method'>
  readonly published: Gauge<'kind'>
  /** 1 when kubelet took the plugin. */
  readonly registered: Gauge
  readonly commitSeconds: Histogram<'consistency' | 'result'>
  readonly commitPauseSeconds: Histogram
  readonly commitFiles: Counter
  readonly commitBytes: Counter
  readonly folds: Counter<'result'>
  readonly collectSeconds: Histogram<'result'>
  readonly collectedBytes: Counter
  readonly scrubbedBytes: Counter
  readonly scrubFindings: Counter<'severity'>
  /** Seconds since 1970. */
  readonly collectedLast: Gauge
  /** The file system of the store: `size`, `available`. */
  readonly storeBytes: Gauge<'kind'>
  /** The same, in inodes. */
  readonly storeInodes: Gauge<'kind'>
  /** How long the start took, from the beginning of the process to ready. */
  readonly recoverySeconds: Gauge
  readonly orphanedTargets: Gauge
  readonly eventLoopLag: Gauge
}

/** What every part measures that talks to the API server. */
export interface KubeMetrics {
  readonly registry: Registry
  readonly apiRequests: Counter<'verb' | 'code'>
  readonly watchReconnects: Counter<'reason'>
  readonly relists: Counter
  readonly queueDepth: Gauge<'queue'>
  readonly queueWaitSeconds: Histogram<'queue'>
  readonly queueWorkSeconds: Histogram<'queue'>
  readonly queueRetries: Counter<'queue'>
  /** From the creation of a StratumCommit to its end; observed by who writes the end. */
  readonly requestSeconds: Histogram<'result'>
}

/** What `stratum controller` measures. */
export interface ControllerMetrics extends KubeMetrics {
  /** 1 in the replica that leads. */
  readonly leader: Gauge
  readonly leaderTransitions: Counter
  /** StratumCommits that have not ended, suspended ones left out. */
  readonly requestsOpen: Gauge
  /** Age of the oldest of these. */
  readonly requestOldestSeconds: Gauge
  /** Labels whose holder is a node that is gone, or not ready. */
  readonly holdersLost: Gauge
  /** VolumeSnapshotContents of ours without the label managed-by: nobody works on them. */
  readonly snapshotsUnmanaged: Gauge
}

const RPC_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const COMMIT_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const PAUSE_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
const REQUEST_BUCKETS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3600]

/** The metrics of `stratum node`. */
export function createMetrics(): Metrics {
  const { kube, gauge, counter, seconds } = begin()
  return {
    ...kube,
    rpcSeconds: seconds('csi_rpc_duration_seconds', 'Time of CSI calls', RPC_BUCKETS, ['method', 'code']),
    rpcsInFlight: gauge('csi_rpcs_in_flight', 'CSI calls under way', ['method']),
    published: gauge('published_targets', 'Targets that a volume is mounted at', ['kind']),
    registered: gauge('registered', '1 when kubelet took the plugin'),
    commitSeconds: seconds('commit_duration_seconds', 'Time of commits of a HEAD', COMMIT_BUCKETS, [
      'consistency',
      'result',
    ]),
    commitPauseSeconds: seconds('commit_pause_seconds', 'Time that writers stood still for a commit', PAUSE_BUCKETS),
    commitFiles: counter('commit_files_total', 'Files that commits found changed'),
    commitBytes: counter('commit_bytes_total', 'Bytes of the files that commits found changed'),
    folds: counter('folds_total', 'HEADs that got a new base', ['result']),
    collectSeconds: seconds('gc_duration_seconds', 'Time of garbage collections', COMMIT_BUCKETS, ['result']),
    collectedBytes: counter('gc_freed_bytes_total', 'Bytes that were freed'),
    scrubbedBytes: counter('scrubbed_bytes_total', 'Bytes of objects whose content was checked in the background'),
    scrubFindings: counter('scrub_findings_total', 'What the check in the background found', ['severity']),
    collectedLast: gauge('gc_last_success_timestamp_seconds', 'When garbage was last collected with success'),
    storeBytes: gauge('store_file_system_bytes', 'The file system of the store', ['kind']),
    storeInodes: gauge('store_file_system_inodes', 'The file system of the store', ['kind']),
    recoverySeconds: gauge('recovery_duration_seconds', 'Time from the start of the process until it was ready'),
    orphanedTargets: gauge('orphaned_targets', 'Targets whose pod seems to be gone'),
    eventLoopLag: gauge('event_loop_lag_seconds', 'How late the event loop runs'),
  }
}

/** The metrics of `stratum controller`. */
export function createControllerMetrics(): ControllerMetrics {
  const { kube, gauge, counter } = begin()
  return {
    ...kube,
    leader: gauge('leader', '1 in the replica that leads'),
    leaderTransitions: counter('leader_transitions_total', 'How often this replica began to lead'),
    requestsOpen: gauge('requests_open', 'StratumCommits that have not ended'),
    requestOldestSeconds: gauge('request_oldest_seconds', 'Age of the oldest StratumCommit that has not ended'),
    holdersLost: gauge('holders_lost', 'Labels whose HEAD is on a node that is gone or not ready'),
    snapshotsUnmanaged: gauge('snapshot_contents_unmanaged', 'VolumeSnapshotContents that no node is asked to make'),
  }
}

type Metric<M> = (name: string, help: string, labelNames?: string[]) => M

interface Beginning {
  kube: KubeMetrics
  gauge: Metric<Gauge>
  counter: Metric<Counter>
  seconds: (name: string, help: string, buckets: number[], labelNames?: string[]) => Histogram
}

/** A registry with what every process measures. */
function begin(): Beginning {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'stratum_' })
  const gauge: Beginning['gauge'] = (name, help, labelNames = []) =>
    new Gauge({ name: `stratum_${name}`, help, labelNames, registers })
  const counter: Beginning['counter'] = (name, help, labelNames = []) =>
    new Counter({ name: `stratum_${name}`, help, labelNames, registers })
  const seconds: Beginning['seconds'] = (name, help, buckets, labelNames = []) =>
    new Histogram({ name: `stratum_${name}`, help, buckets, labelNames, registers })
  gauge('build_info', 'Which program this is', ['version']).set({ version: VERSION }, 1)
  const kube: KubeMetrics = {
    registry,
    apiRequests: counter('api_requests_total', 'Requests to the API server', ['verb', 'code']),
    watchReconnects: counter('watch_reconnects_total', 'Watches that ended before their time', ['reason']),
    relists: counter('relists_total', 'Lists that were read anew, because a watch had lost its place'),
    queueDepth: gauge('workqueue_depth', 'Objects that wait for work', ['queue']),
    queueWaitSeconds: seconds('workqueue_wait_seconds', 'Time that objects waited', RPC_BUCKETS, ['queue']),
    queueWorkSeconds: seconds('workqueue_work_seconds', 'Time of the work on an object', RPC_BUCKETS, ['queue']),
    queueRetries: counter('workqueue_retries_total', 'Objects that came back after an error', ['queue']),
    requestSeconds: seconds('request_seconds', 'From the creation of a StratumCommit to its end', REQUEST_BUCKETS, [
      'result',
    ]),
  }
  return { kube, gauge, counter, seconds }
}
