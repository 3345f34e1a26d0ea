import type { Logger } from '../../telemetry/log.ts'
import type { ControllerMetrics } from '../../telemetry/metrics.ts'
import type { ApiServer } from '../client/api-server.ts'
import type { Recorder } from '../client/events.ts'
import { type Mirror, mirrorResource, type MirrorTiming } from '../client/mirror.ts'
import type { KubeObject, Resource } from '../client/objects.ts'
import { type Claim, CLAIMS, CSI_NODES, type CsiNode, isReady, type Node, NODES } from '../resources/core.ts'
import { labelName, storeLabel } from '../resources/names.ts'
import { STRATUM_COMMITS, STRATUM_LABELS, type StratumCommit, type StratumLabel } from '../resources/stratum.ts'
import type { NodeState } from './plan-request.ts'
import { projectClaim, projectCsiNode, projectLabel, projectNode, projectRequest } from './projections.ts'

/** What the controller sees of the cluster, as it is now. */
export interface World extends AsyncDisposable {
  readonly requests: Mirror<StratumCommit>
  readonly labels: Mirror<StratumLabel>
  readonly nodes: Mirror<Node>
  readonly csiNodes: Mirror<CsiNode>
  /** Those that may need a node. */
  readonly claims: Mirror<Claim>
  nodeState(name: string): NodeState
  readonly goneAfterMs: number
  /** Requests that have not ended, by the label that they are about. */
  requestsFor(label: string): Iterable<string>
}

export interface WorldOptions {
  readonly server: ApiServer
  readonly log: Logger
  readonly metrics: ControllerMetrics
  readonly timing?: Partial<MirrorTiming> | undefined
  readonly home: string
  readonly onRequest: (key: string) => void
  readonly onLabel: (key: string) => void
  /** `isChanged`: it came to be ready, or is no longer. */
  readonly onNode: (name: string, isChanged: boolean) => void
  readonly onClaim: (key: string) => void
}

/** What the parts of the controller share. */
export interface ControllerContext {
  readonly server: ApiServer
  /** The namespace that Stratum is installed in. */
  readonly home: string
  readonly log: Logger
  readonly metrics: ControllerMetrics
  readonly record: Recorder
}

/** A node whose object is missing for so long is gone: it may only be registering anew. */
export const GONE_AFTER_MS = 60_000

export function openWorld(options: WorldOptions, goneAfterMs = GONE_AFTER_MS): World {
  const { server, log, metrics, timing } = options
  const missingSince = new Map<string, number>()
  const mirror = <T extends KubeObject>(
    resource: Resource<T>,
    onChange: (key: string, now: T | undefined, before: T | undefined) => void,
    project: (object: T) => T,
  ): Mirror<T> =>
    mirrorResource(server, resource, { project, onChange, log, metrics, ...(timing === undefined ? {} : { timing }) })
  const nodes = mirror(
    NODES,
    (name, now, before) => {
      missingSince.delete(name)
      options.onNode(name, before !== undefined && (now === undefined || isReady(now) !== isReady(before)))
    },
    projectNode,
  )
  const open = createIndex(options.home)
  const world: World = {
    goneAfterMs,
    requestsFor: open.find,
    requests: mirror(
      STRATUM_COMMITS,
      (key, now, before) => {
        open.note(key, now ?? before, now !== undefined)
        options.onRequest(key)
      },
      projectRequest,
    ),
    labels: mirror(STRATUM_LABELS, options.onLabel, projectLabel),
    nodes,
    csiNodes: mirror(CSI_NODES, name => options.onNode(name, false), projectCsiNode),
    claims: mirror(CLAIMS, options.onClaim, projectClaim),
    nodeState(name) {
      const node = nodes.get(name)
      if (node !== undefined) return isReady(node) ? 'ready' : 'not-ready'
      const since = missingSince.get(name) ?? performance.now()
      missingSince.set(name, since)
      return nodes.isSynced() && performance.now() - since >= goneAfterMs ? 'gone' : 'not-ready'
    },
    async [Symbol.asyncDispose]() {
      const { requests, labels, csiNodes, claims } = world
      await Promise.all([requests, labels, nodes, csiNodes, claims].map(each => each[Symbol.asyncDispose]()))
    },
  }
  return world
}

export function synced({ requests, labels, nodes, csiNodes, claims }: World): Promise<unknown> {
  return Promise.all([requests, labels, nodes, csiNodes, claims].map(each => each.synced))
}

interface RequestIndex {
  note(key: string, object: StratumCommit | undefined, isThere: boolean): void
  find(label: string): Iterable<string>
}

/** Which requests wait for a label, so that not all of them have to be looked through. */
function createIndex(home: string): RequestIndex {
  const open = new Map<string, Set<string>>()
  return {
    note(key, object, isThere) {
      const label = object === undefined ? undefined : labelKey(object, home)
      if (label === undefined) return
      const keys = open.get(label) ?? new Set()
      if (isThere && object?.status?.completionTime === undefined) keys.add(key)
      else keys.delete(key)
      if (keys.size > 0) open.set(label, keys)
      else open.delete(label)
    },
    find: label => open.get(label) ?? [],
  }
}

/** `namespace/name` of the StratumLabel that a request is about. */
export function labelKey({ metadata, spec }: StratumCommit, home: string): string | undefined {
  const label = storeLabel(metadata.namespace ?? '', spec.label)
  const name = label === undefined ? undefined : labelName(label, home)
  return name === undefined ? undefined : `${name.namespace}/${name.name}`
}
