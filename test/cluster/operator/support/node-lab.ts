import fs from 'node:fs'
import path from 'node:path'
import { pino } from 'pino'
import type { InCluster } from '../../../../src/kube/client/api-server.ts'
import { createObject, getObject, patchObject } from '../../../../src/kube/client/objects.ts'
import { type ClusterNode, connectNode, type RunningNode } from '../../../../src/kube/connect-node.ts'
import {
  STRATUM_COMMITS,
  STRATUM_LABELS,
  type StratumCommit,
  type StratumLabel,
} from '../../../../src/kube/resources/stratum.ts'
import { findCondition } from '../../../../src/kube/resources/conditions.ts'
import type { Logger } from '../../../../src/telemetry/log.ts'
import type { HolderArbiter, Volumes } from '../../../../src/volumes/volumes.ts'
import { createLedger } from '../../../../src/volumes/ledger.ts'
import { createTestStore, type TestStore } from '../../../support/store.ts'
import { waitFor } from '../../support/wait.ts'
import type { Api } from './api.ts'

/** A node with a store of its own, joined to an API server. */
export interface NodeLab extends AsyncDisposable {
  readonly store: TestStore
  readonly cluster: ClusterNode
  readonly volumes: Volumes
  /** Makes the HEAD of a label, mounted, with these files committed; returns where. */
  head(label: string, files?: Readonly<Record<string, string>>): Promise<string>
  start(): Promise<void>
  stop(): Promise<void>
}

export function quiet(file?: string): Logger {
  return pino(
    { level: 'debug' },
    file === undefined ? { write: () => undefined } : fs.createWriteStream(file, { flags: 'a' }),
  ) as Logger
}

export async function startNode(api: Api, nodeName: string, store: TestStore = createTestStore()): Promise<NodeLab> {
  const access: InCluster = await api.as('node', nodeName)
  const log = quiet(`${api.folder}/${nodeName}.log`)
  const cluster = connectNode({ store: store.store, nodeName, log, cluster: access, timing: { backoffMs: [50, 500] } })
  const volumes = volumesOf(store, nodeName, cluster.holders)
  let running: RunningNode | undefined
  const lab: NodeLab = {
    store,
    cluster,
    volumes,
    async head(label, files = { 'a.txt': 'a' }) {
      await store.importFiles(label, files)
      await cluster.holders.take(label as never, AbortSignal.timeout(20_000))
      return store.mount(label)
    },
    async start() {
      running = cluster.start(volumes)
      await running.synced
    },
    async stop() {
      await running?.[Symbol.asyncDispose]()
      running = undefined
    },
    async [Symbol.asyncDispose]() {
      await lab.stop()
    },
  }
  await lab.start()
  return lab
}

export function volumesOf({ store, scratch }: TestStore, nodeId: string, holders: HolderArbiter): Volumes {
  const driver = { name: 'stratum.csi.dev', nodeId, kubeletDir: undefined, headsDir: `${scratch}/heads` }
  return { store, driver, holders, ledger: createLedger(`k2-${path.basename(scratch)}`, store) }
}

/** Asks for a commit. */
export async function ask(
  api: Api,
  namespace: string,
  name: string,
  spec: Record<string, unknown>,
): Promise<StratumCommit> {
  return createObject(api.admin, STRATUM_COMMITS, { metadata: { namespace, name }, spec: spec as never })
}

export async function request(api: Api, namespace: string, name: string): Promise<StratumCommit | undefined> {
  return getObject(api.admin, STRATUM_COMMITS, { namespace, name })
}

export function change(
  api: Api,
  namespace: string,
  name: string,
  spec: Record<string, unknown>,
): Promise<StratumCommit> {
  return patchObject(api.admin, STRATUM_COMMITS, { namespace, name }, { spec })
}

/** Waits for the end of a request. */
export function ended(api: Api, namespace: string, name: string): Promise<StratumCommit> {
  return until(api, namespace, name, ({ status }) => status?.completionTime !== undefined)
}

/** Waits until a request is as it should be. */
export async function until(
  api: Api,
  namespace: string,
  name: string,
  is: (object: StratumCommit) => boolean,
): Promise<StratumCommit> {
  let last: StratumCommit | undefined
  return waitFor(
    `${namespace}/${name}`,
    async () => {
      last = await request(api, namespace, name)
      return last !== undefined && is(last) ? last : undefined
    },
    { limitSeconds: 60, explain: () => JSON.stringify(last, null, 1) },
  )
}

export async function label(api: Api, namespace: string, name: string): Promise<StratumLabel | undefined> {
  return getObject(api.admin, STRATUM_LABELS, { namespace, name })
}

export async function labelUntil(
  api: Api,
  namespace: string,
  name: string,
  is: (object: StratumLabel) => boolean,
): Promise<StratumLabel> {
  let last: StratumLabel | undefined
  return waitFor(
    `StratumLabel ${namespace}/${name}`,
    async () => {
      last = await label(api, namespace, name)
      return last !== undefined && is(last) ? last : undefined
    },
    { limitSeconds: 60, explain: () => JSON.stringify(last, null, 1) },
  )
}

/** A condition as `True Completed`. */
export function verdict(object: StratumCommit, type: string): string {
  const condition = findCondition(object.status?.conditions, type)
  return condition === undefined ? 'none' : `${condition.status} ${condition.reason}`
}
