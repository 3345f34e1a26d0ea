import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { type ChannelOptions, type Client, credentials, type ServiceError, status as Status } from '@grpc/grpc-js'
import { loadProtocols } from '../../src/csi/protocol.ts'

const MAIN = path.join(import.meta.dirname, 'node-main.ts')
const START_LIMIT_MS = 120_000
const CALL_LIMIT_MS = 120_000
const protocols = loadProtocols()

export type Service = 'Identity' | 'Controller' | 'Node'
export type Code = keyof typeof Status

/** What a call ended with: its code and message, or what it returned. */
export interface Answer {
  readonly code: Code
  readonly message: string
  readonly response: any
}

export interface CallOptions {
  readonly deadlineMs?: number
  /** Aborted, the call is cancelled. */
  readonly signal?: AbortSignal
}

/** A client of a plugin's socket. */
export interface PluginClient extends Disposable {
  /** @throws if the request cannot be written */
  call(service: Service, method: string, request: unknown, options?: CallOptions): Promise<Answer>
  /** Sends bytes as the request. */
  send(service: Service, method: string, bytes: Buffer): Promise<Answer>
}

/** A `stratum node` in a process of its own. */
export interface NodeProcess extends AsyncDisposable, PluginClient {
  readonly pid: number
  /** Its log, line by line. */
  readonly lines: readonly Readonly<Record<string, any>>[]
  /**
   * The next calls of host/ count for this fault: `kill@3`. False if the plugin does not live any more: what it does after its answers
   * counts, too.
   */
  arm(fault: string): Promise<boolean>
  /** SIGTERM; the exit status. */
  stop(): Promise<number | null>
  kill(): Promise<void>
  /** When it ended: its exit status, null after a signal. */
  readonly gone: Promise<number | null>
  readonly child: ChildProcess
}

export interface NodeProcessOptions {
  readonly store: string
  readonly socket: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Do not wait until it serves. */
  readonly unready?: boolean
}

export async function startNode(options: NodeProcessOptions): Promise<NodeProcess> {
  const { store, socket, args = [], env = {}, unready = false } = options
  const child = spawn(
    process.execPath,
    [MAIN, '--endpoint', `unix://${socket}`, '--store', store, '--node-id', 'node-1', '--gc-interval', '0', ...args],
    { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, ...env } },
  )
  const lines: Record<string, any>[] = []
  const gone = new Promise<number | null>(resolve => child.once('close', status => resolve(status)))
  await new Promise<void>((resolve, reject) => {
    const alarm = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`no plugin: ${JSON.stringify(lines)}`))
    }, START_LIMIT_MS)
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', line => {
      lines.push(line.startsWith('{') ? JSON.parse(line) : { text: line })
      if (lines.at(-1)?.msg !== 'serving') return
      clearTimeout(alarm)
      resolve()
    })
    if (unready) {
      clearTimeout(alarm)
      resolve()
    }
    void gone.then(() => {
      clearTimeout(alarm)
      reject(new Error(`the plugin ended: ${JSON.stringify(lines)}`))
    })
  })
  const client = connect(socket)
  const kill = async (): Promise<void> => {
    client[Symbol.dispose]()
    child.kill('SIGKILL')
    await gone
  }
  return {
    ...client,
    pid: child.pid ?? 0,
    child,
    lines,
    gone,
    kill,
    async arm(fault) {
      const answered = once(child, 'message').then(() => true)
      child.send(fault, () => undefined) // nobody may be there
      return Promise.race([answered, gone.then(() => false)])
    },
    async stop() {
      child.kill('SIGTERM')
      return gone
    },
    [Symbol.asyncDispose]: kill,
  }
}

/** A client of the socket, whoever serves there. */
export function connect(socket: string, options: ChannelOptions = {}): PluginClient {
  const { Identity, Controller, Node } = protocols.csi
  const address = `unix://${socket}`
  const make = (service: typeof Identity | typeof Controller | typeof Node): Client =>
    new service(address, credentials.createInsecure(), options)
  const clients = { Identity: make(Identity), Controller: make(Controller), Node: make(Node) }
  return {
    call(service, method, request, { deadlineMs = CALL_LIMIT_MS, signal } = {}) {
      const client = clients[service] as unknown as Record<string, (...args: unknown[]) => { cancel(): void }>
      return new Promise(resolve => {
        const call = client[method](
          request,
          { deadline: Date.now() + deadlineMs },
          (error: ServiceError | null, response: unknown) => {
            resolve({ code: Status[error?.code ?? 0] as Code, message: error?.details ?? '', response })
          },
        )
        signal?.addEventListener('abort', () => call.cancel(), { once: true })
      })
    },
    send(service, method, bytes) {
      return new Promise(resolve => {
        const same = (value: Buffer): Buffer => value
        const options = { deadline: Date.now() + CALL_LIMIT_MS }
        clients[service].makeUnaryRequest(
          `/csi.v1.${service}/${method}`,
          same,
          same,
          bytes,
          options,
          (error, response) =>
            resolve({ code: Status[error?.code ?? 0] as Code, message: error?.details ?? '', response }),
        )
      })
    },
    [Symbol.dispose]() {
      for (const client of Object.values(clients)) client.close()
    },
  }
}

/** The capability that everybody asks for. */
export const MOUNT = { mount: {}, access_mode: { mode: 'SINGLE_NODE_WRITER' } } as const

/** A request as external-provisioner sends it. */
export function createRequest(name: string, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { name, volume_capabilities: [MOUNT], ...more }
}

/** The parameters that external-provisioner adds with --extra-create-metadata. */
export function claimOf(namespace: string, name: string): Record<string, string> {
  return {
    'csi.storage.k8s.io/pvc/namespace': namespace,
    'csi.storage.k8s.io/pvc/name': name,
    'csi.storage.k8s.io/pv/name': `pvc-${name}`,
  }
}
