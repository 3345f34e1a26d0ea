import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, type ServiceError, status as Status } from '@grpc/grpc-js'
import type { NodeClient } from '../../src/csi/generated/csi/v1/Node.ts'
import { loadProtocols } from '../../src/csi/protocol.ts'
import { type MountInfo, readMounts } from '../../src/host/mountinfo.ts'
import type { AccessMode } from '../../src/volumes/ledger.ts'
import { content, createTestStore, type TestStore } from './store.ts'

const PLUGIN = path.join(import.meta.dirname, 'csi-plugin.ts')
const protocols = loadProtocols()

/** A plugin in a process of its own, and a client of its socket. */
export interface Plugin extends AsyncDisposable {
  readonly pid: number
  readonly client: NodeClient
  /** From the start of the process's own work to the moment when it takes calls. */
  readonly startMs: number
  /** Resident memory in bytes. */
  memory(): Promise<number>
  /**
   * From here on, the n-th changing call kills it (`kill@n`) or fails (`EIO@n`). False if it does not live any more: what it does after
   * its answers counts, too.
   */
  arm(fault: string): Promise<boolean>
  kill(): Promise<void>
  /** When it ended. */
  readonly gone: Promise<void>
}

export interface PluginOptions {
  readonly store: string
  readonly socket: string
  readonly kubeletDir: string | undefined
  readonly env?: Readonly<Record<string, string>>
}

export async function startPlugin({ store, socket, kubeletDir, env = {} }: PluginOptions): Promise<Plugin> {
  const child = spawn(process.execPath, [PLUGIN, store, socket, kubeletDir ?? '-'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<Record<string, number>> => {
    const { value, done } = await lines.next()
    if (done === true) throw new Error('the plugin ended')
    return JSON.parse(value) as Record<string, number>
  }
  const { milliseconds } = await next()
  const client = new protocols.csi.Node(`unix://${socket}`, credentials.createInsecure())
  const kill = async (): Promise<void> => {
    client.close()
    child.kill('SIGKILL')
    await gone
  }
  return {
    pid: child.pid ?? 0,
    client,
    startMs: milliseconds,
    async memory() {
      child.kill('SIGUSR2')
      return (await next()).rss
    },
    async arm(fault) {
      fs.writeFileSync(`${socket}.fault`, fault)
      child.kill('SIGUSR1')
      return (await lines.next()).done !== true
    },
    kill,
    gone,
    [Symbol.asyncDispose]: kill,
  }
}

/** One call; its code and message, or what it returned. */
export interface Answer<Response = unknown> {
  readonly code: keyof typeof Status
  readonly message: string
  readonly response: Response | undefined
}

type Unary<Request, Response> = (
  request: Request,
  options: { deadline: number },
  callback: (error: ServiceError | null, response?: Response) => void,
) => unknown

const LIMIT_MS = 120_000

/** Calls a method and answers with its code, whatever it is. */
export function ask<Request, Response>(
  client: NodeClient,
  method: Unary<Request, Response>,
  request: Request,
): Promise<Answer<Response>> {
  return new Promise(resolve => {
    method.call(client, request, { deadline: Date.now() + LIMIT_MS }, (error, response) => {
      const code = Status[error?.code ?? 0] as keyof typeof Status
      resolve({ code, message: error?.details ?? '', response: response ?? undefined })
    })
  })
}

/** A pod as kubelet makes its folders. */
export interface TestPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
}

export function createPod(namespace = 'team-a', name = 'pod'): TestPod {
  return { uid: randomUUID(), namespace, name }
}

/** The target that kubelet names for a volume of a pod; it makes the folder that it is in. */
export function targetOf(kubeletDir: string, pod: TestPod, volume = 'pv'): string {
  const folder = `${kubeletDir}/pods/${pod.uid}/volumes/kubernetes.io~csi/${volume}`
  fs.mkdirSync(folder, { recursive: true })
  return `${folder}/mount`
}

export interface Wish {
  readonly volumeId: string
  readonly target: string
  readonly pod: TestPod | undefined
  readonly attributes?: Readonly<Record<string, string>>
  readonly mode?: AccessMode | number
  readonly readonly?: boolean
  readonly flags?: readonly string[]
  readonly group?: string
  readonly ephemeral?: boolean
}

/** A request as kubelet sends it. */
export function publishRequest(wish: Wish): Record<string, unknown> {
  const { volumeId, target, pod, attributes = {}, mode = 'SINGLE_NODE_MULTI_WRITER', flags = [], group = '' } = wish
  const info =
    pod === undefined
      ? {}
      : {
          'csi.storage.k8s.io/pod.name': pod.name,
          'csi.storage.k8s.io/pod.namespace': pod.namespace,
          'csi.storage.k8s.io/pod.uid': pod.uid,
          'csi.storage.k8s.io/serviceAccount.name': 'default',
          'csi.storage.k8s.io/ephemeral': String(wish.ephemeral ?? false),
        }
  return {
    volume_id: volumeId,
    target_path: target,
    readonly: wish.readonly ?? false,
    volume_capability: { access_mode: { mode }, mount: { fs_type: '', mount_flags: flags, volume_mount_group: group } },
    volume_context: { ...attributes, ...info },
  }
}

export function publish(client: NodeClient, wish: Wish): Promise<Answer> {
  return ask(client, client.nodePublishVolume as Unary<unknown, unknown>, publishRequest(wish))
}

export function unpublish(client: NodeClient, volumeId: string, target: string): Promise<Answer> {
  const request = { volume_id: volumeId, target_path: target }
  return ask(client, client.nodeUnpublishVolume as Unary<unknown, unknown>, request)
}

export interface Usage {
  readonly unit: string
  readonly used: string
  readonly available: string
  readonly total: string
}

export function stats(client: NodeClient, volumeId: string, target: string): Promise<Answer<{ usage: Usage[] }>> {
  const request = { volume_id: volumeId, volume_path: target }
  return ask(client, client.nodeGetVolumeStats as Unary<unknown, { usage: Usage[] }>, request)
}

/** A store, kubelet's folder and the plugin on its socket, with a label `team-a/web` that has tags and commits. */
export interface CsiLab extends AsyncDisposable {
  readonly store: TestStore
  readonly kubeletDir: string
  readonly socket: string
  /** The plugin that runs now. */
  plugin(): Plugin
  client(): NodeClient
  restart(env?: Readonly<Record<string, string>>): Promise<Plugin>
  start(env?: Readonly<Record<string, string>>): Promise<Plugin>
  /** A new pod with a target of its own and what kubelet sends for it. */
  wish(volumeId: string, wish?: Partial<Wish> & { readonly namespace?: string }): Wish
  /** Mounts of this store that are seen now. */
  mounts(): MountInfo[]
  /** The folder of the publish ledger. */
  readonly ledger: string
  /** Files in it. */
  notes(): string[]
  /** Waits until a condition holds. */
  until(what: string, condition: () => boolean): Promise<void>
}

const UNTIL_MS = 30_000

export async function createCsiLab(options: { readonly anyTarget?: boolean } = {}): Promise<CsiLab> {
  const store = createTestStore()
  await store.importFiles('team-a/web:v1', { file: 'one', 'folder/deep': content('deep') })
  await store.importFiles('team-a/web:v2', { file: 'two', 'folder/deep': content('deep') })
  await store.importFiles('team-b/secret:v1', { file: 'secret' })
  await store.importFiles('library/base:v1', { file: 'library' })
  const kubeletDir = `${store.scratch}/kubelet`
  const socket = `${store.scratch}/csi.sock`
  fs.mkdirSync(kubeletDir)
  const ledger = `${process.env.STRATUM_RUN}/csi/stratum.csi.dev-${store.store.id}`
  let running: Plugin | undefined
  const start = async (env: Readonly<Record<string, string>> = {}): Promise<Plugin> => {
    const folder = options.anyTarget === true ? undefined : kubeletDir
    running = await startPlugin({ store: store.store.path, socket, kubeletDir: folder, env })
    return running
  }
  const plugin = (): Plugin => running as Plugin
  return {
    store,
    kubeletDir,
    socket,
    plugin,
    client: () => plugin().client,
    start,
    async restart(env) {
      await running?.kill()
      return start(env)
    },
    wish(volumeId, { namespace = 'team-a', ...wish } = {}) {
      const pod = wish.pod ?? createPod(namespace)
      return { volumeId, pod, target: targetOf(kubeletDir, pod, volumeId), ...wish }
    },
    mounts: () => readMounts().filter(({ source }) => source.includes(store.store.id)),
    ledger,
    notes: () => fs.readdirSync(ledger),
    async until(what, condition) {
      for (const end = performance.now() + UNTIL_MS; !condition(); await sleep(10))
        if (performance.now() > end) throw new Error(`${what} did not come`)
    },
    async [Symbol.asyncDispose]() {
      await running?.kill()
    },
  }
}
