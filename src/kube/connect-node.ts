import type { Label } from '../names/label.ts'
import type { Store } from '../store/layout.ts'
import type { Logger } from '../telemetry/log.ts'
import type { KubeMetrics } from '../telemetry/metrics.ts'
import type { Claims } from '../volumes/claims.ts'
import type { HolderArbiter, Volumes } from '../volumes/volumes.ts'
import { type InCluster, inClusterServer } from './client/api-server.ts'
import { createRecorder } from './client/events.ts'
import type { MirrorTiming } from './client/mirror.ts'
import { createClaims } from './node/claims.ts'
import { createHolders } from './node/holders.ts'
import { keepLabels, type LabelKeeper } from './node/keep-labels.ts'
import type { NodeContext } from './node/node-context.ts'
import { type RequestWorker, workRequests } from './node/work-requests.ts'

/** A node's place in its cluster: what the volumes ask of it, and the work that it gets from there. */
export interface ClusterNode {
  readonly holders: HolderArbiter
  readonly claims: Claims
  /** Begins to carry out StratumCommits and to keep StratumLabels; ends with the disposal of what it returns. */
  start(volumes: Volumes): RunningNode
}

export interface RunningNode extends AsyncDisposable {
  /** A tag or HEAD of a label moved: its StratumLabel is brought in line at once, not only when the store is looked at next. */
  labelChanged(label: Label): void
  /** The first lists are here. */
  readonly synced: Promise<unknown>
}

export interface ConnectOptions {
  readonly store: Store
  readonly nodeName: string
  readonly log: Logger
  readonly metrics?: KubeMetrics | undefined
  /** How the API server is reached; by what kubelet gives a pod if it is not said. */
  readonly cluster?: InCluster
  readonly timing?: Partial<MirrorTiming>
}

/** Joins a node to its cluster. Nothing is asked of the API server yet. @throws unavailable outside of a cluster */
export function connectNode({ store, nodeName, log, metrics, cluster, timing }: ConnectOptions): ClusterNode {
  const { server, namespace: home } = cluster ?? inClusterServer()
  const counted = {
    ...server,
    onAnswer: (verb: string, code: string): void => metrics?.apiRequests.inc({ verb, code }),
  }
  const record = createRecorder(counted, 'stratum-node', nodeName, log)
  const context: NodeContext = { server: counted, store, nodeName, home, log, metrics, record }
  const running: { labels?: LabelKeeper; requests?: RequestWorker } = {}
  const held = (label: Label): void => {
    running.labels?.look(label)
    running.requests?.look(label)
  }
  return {
    holders: createHolders(context, held),
    claims: createClaims(context),
    start(volumes) {
      const labels = keepLabels(context, held, timing)
      const requests = workRequests(context, volumes, { onTags: label => labels.look(label), timing })
      Object.assign(running, { labels, requests })
      return {
        labelChanged: label => labels.look(label),
        synced: requests.synced,
        async [Symbol.asyncDispose]() {
          await requests[Symbol.asyncDispose]()
          await labels[Symbol.asyncDispose]()
        },
      }
    },
  }
}
