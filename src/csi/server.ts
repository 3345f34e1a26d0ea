import fs from 'node:fs'
import { ReflectionService } from '@grpc/reflection'
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js'
import { StratumError } from '../errors/stratum-error.ts'
import type { CallGate } from './call.ts'
import type { Protocols } from './protocol.ts'

export interface SocketServer {
  /** Takes no new calls, waits for those under way, ends the rest. */
  stop(graceMs: number): Promise<void>
}

/** Where services are added. */
export type ServiceList = Pick<Server, 'addService'>

const OPTIONS = {
  'grpc.enable_channelz': 0, // grows with every short connection (grpc-node 2068)
  'grpc.max_connection_idle_ms': 300_000,
  'grpc.max_receive_message_length': 1 << 22,
}
const SOCKET_MODE = 0o600

/** The path of `unix:///run/x.sock`, `unix:/run/x.sock` or `/run/x.sock`. @throws usage */
export function socketPath(endpoint: string): string {
  const path = endpoint.replace(/^unix:(\/\/)?/, '')
  if (!path.startsWith('/') || endpoint.startsWith('tcp:'))
    throw new StratumError(
      'usage',
      `${JSON.stringify(endpoint)} is no endpoint: it is a unix socket, unix:///path/to/csi.sock`,
    )
  return path
}

/** Serves on a unix socket that only root may use. One that a process left behind when it died is replaced. */
export async function serveSocket(
  endpoint: string,
  protocols: Protocols,
  add: (services: ServiceList) => void,
  gate: CallGate,
): Promise<SocketServer> {
  const path = socketPath(endpoint)
  const server = new Server(OPTIONS)
  const services: string[] = []
  add({
    addService(service, methods) {
      services.push(nameOf(service))
      server.addService(service, methods)
    },
  })
  new ReflectionService(protocols.definition, { services }).addToServer(server)
  removeStale(path)
  const mask = process.umask(0o177)
  try {
    await bind(server, path)
    fs.chmodSync(path, SOCKET_MODE)
  } finally {
    process.umask(mask)
  }
  return { stop: graceMs => stop(server, gate, graceMs) }
}

/** `csi.v1.Node` of the paths `/csi.v1.Node/NodePublishVolume`, … */
function nameOf(service: ServiceDefinition): string {
  return Object.values(service)[0]?.path.split('/')[1] ?? ''
}

function removeStale(path: string): void {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw new StratumError('usage', `${path} is there and is no socket`)
  fs.unlinkSync(path)
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix://${path}`, ServerCredentials.createInsecure(), error =>
      error === null ? resolve() : reject(error),
    )
  })
}

async function stop(server: Server, gate: CallGate, graceMs: number): Promise<void> {
  gate.draining = true
  if (gate.underWay > 0) {
    await Promise.race([
      new Promise<void>(resolve => (gate.idle = resolve)),
      new Promise(resolve => setTimeout(resolve, graceMs).unref()),
    ])
  }
  gate.stopping.abort()
  server.forceShutdown()
}
