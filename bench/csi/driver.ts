import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import { loadProtocols } from '../../src/csi/protocol.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const protocols = loadProtocols()

/** The node plugin as it is installed, in a process of its own, and a client of its socket. */
export interface Driver {
  readonly pid: number
  readonly kubeletDir: string
  /** From the start of the process to its first answer. */
  readonly startMs: number
  call(method: string, request: object): Promise<Record<string, any>>
  /** Resident memory, MiB. */
  memory(): number
  kill(): Promise<void>
}

const START_LIMIT_MS = 60_000

/** Builds the program as the image has it: what runs from its sources takes more memory. */
export function buildProgram(folder: string): void {
  execFileSync(`${ROOT}/node_modules/.bin/tsc`, ['-p', `${ROOT}/tsconfig.build.json`, '--outDir', `${folder}/app/dist`])
  for (const name of ['node_modules', 'proto', 'package.json', 'bin'])
    fs.symlinkSync(`${ROOT}/${name}`, `${folder}/app/${name}`)
}

/** The command line of the built program. */
export function program(folder: string): [string, string] {
  return [`${ROOT}/node_modules/.bin/node`, `${folder}/app/dist/main.js`]
}

export async function startDriver(folder: string): Promise<Driver> {
  const [kubeletDir, socket] = [`${folder}/kubelet`, `${folder}/csi.sock`]
  fs.mkdirSync(kubeletDir, { recursive: true })
  const log = fs.openSync(`${folder}/node.log`, 'w')
  const begun = performance.now()
  const flags = ['--store', `${folder}/store`, '--endpoint', `unix://${socket}`]
  const [node, main] = program(folder)
  const child = spawn(node, [main, 'node', ...flags, '--node-id', 'bench', '--kubelet-dir', kubeletDir], {
    stdio: ['ignore', log, log],
  })
  fs.closeSync(log)
  const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
  const client = new Client(`unix://${socket}`, credentials.createInsecure())
  const call = (method: string, request: object): Promise<Record<string, any>> => callMethod(client, method, request)
  for (const end = begun + START_LIMIT_MS; ; await sleep(5)) {
    try {
      await call('Identity/Probe', {})
      break
    } catch (error) {
      if (performance.now() > end) throw error
    }
  }
  return {
    pid: child.pid as number,
    kubeletDir,
    startMs: performance.now() - begun,
    call,
    memory: () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024,
    async kill() {
      client.close()
      child.kill('SIGKILL')
      await gone
    },
  }
}

function callMethod(client: Client, name: string, request: object): Promise<Record<string, any>> {
  const [service, method] = name.split('/') as ['Identity' | 'Controller' | 'Node', string]
  const { path: address, requestSerialize, responseDeserialize } = (protocols.csi[service].service as any)[method]
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      address,
      requestSerialize,
      responseDeserialize,
      request,
      { deadline: Date.now() + START_LIMIT_MS },
      (error: ServiceError | null, response?: unknown) =>
        error === null ? resolve(response as Record<string, any>) : reject(new Error(`${name}: ${error.message}`)),
    )
  })
}

/** One volume at one target of a pod of its own, as kubelet asks for it. */
export interface Mount {
  readonly target: string
  publish(): Promise<void>
  unpublish(): Promise<void>
  stats(): Promise<void>
}

const NAMESPACE = 'bench'

export function createMount(driver: Driver, volumeId: string, attributes: Readonly<Record<string, string>>): Mount {
  const uid = randomUUID()
  const folder = `${driver.kubeletDir}/pods/${uid}/volumes/kubernetes.io~csi/${volumeId}`
  const target = `${folder}/mount`
  fs.mkdirSync(folder, { recursive: true })
  const pod = { name: 'pod', namespace: NAMESPACE, uid }
  const podInfo = Object.entries(pod).map(([key, value]) => [`csi.storage.k8s.io/pod.${key}`, value])
  const mode = attributes.tag === undefined ? 'SINGLE_NODE_MULTI_WRITER' : 'MULTI_NODE_READER_ONLY'
  return {
    target,
    async publish() {
      await driver.call('Node/NodePublishVolume', {
        volume_id: volumeId,
        target_path: target,
        readonly: attributes.tag !== undefined,
        volume_capability: { access_mode: { mode }, mount: {} },
        volume_context: { ...attributes, ...Object.fromEntries(podInfo) },
      })
    },
    async unpublish() {
      await driver.call('Node/NodeUnpublishVolume', { volume_id: volumeId, target_path: target })
    },
    async stats() {
      await driver.call('Node/NodeGetVolumeStats', { volume_id: volumeId, volume_path: target })
    },
  }
}
