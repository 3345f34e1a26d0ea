import assert from 'node:assert/strict'
import fs from 'node:fs'
import { type Answer, claimOf, createRequest, MOUNT, type NodeProcess, startNode } from './node-process.ts'
import { createTestStore, type TestStore } from './store.ts'

/** A store with a plugin on it, and what external-provisioner, external-snapshotter and kubelet ask of it. No kubelet: any target. */
export interface VolumesLab extends AsyncDisposable {
  readonly store: TestStore
  readonly socket: string
  plugin(): NodeProcess
  restart(): Promise<NodeProcess>
  call(method: string, request: unknown): Promise<Answer>
  /** The volume, which is there then. */
  create(name: string, more?: Readonly<Record<string, unknown>>): Promise<any>
  /** For a claim of that name in a namespace. */
  createFor(namespace: string, claim: string, uid?: string): Promise<any>
  snapshot(name: string, volume: string, parameters?: Readonly<Record<string, string>>): Promise<any>
  /** Mounts a volume; returns its target. */
  publish(volume: string): Promise<string>
  unpublish(volume: string, target: string): Promise<Answer>
  /** The record that lies in the store. */
  record(id: string): any
  /** The folder of a label. */
  label(name: string): string
}

export async function createVolumesLab(args: readonly string[] = []): Promise<VolumesLab> {
  const store = createTestStore()
  const socket = `${store.scratch}/csi.sock`
  const start = (): Promise<NodeProcess> => startNode({ store: store.store.path, socket, args })
  let plugin = await start()
  let targets = 0
  const call: VolumesLab['call'] = (method, request) => plugin.call('Controller', method, request)
  const lab: VolumesLab = {
    store,
    socket,
    plugin: () => plugin,
    async restart() {
      await plugin.kill()
      plugin = await start()
      return plugin
    },
    call,
    create: async (name, more) => good(await call('CreateVolume', createRequest(name, more))).volume,
    createFor: (namespace, claim, uid = `${claim}-uid`) =>
      lab.create(`pvc-${uid}`, { parameters: claimOf(namespace, claim) }),
    snapshot: async (name, volume, parameters = {}) =>
      good(await call('CreateSnapshot', { name, source_volume_id: volume, parameters })).snapshot,
    async publish(volume) {
      const target = `${store.scratch}/target-${++targets}`
      const request = { volume_id: volume, target_path: target, volume_capability: MOUNT, volume_context: {} }
      good(await plugin.call('Node', 'NodePublishVolume', request))
      return target
    },
    unpublish: (volume, target) =>
      plugin.call('Node', 'NodeUnpublishVolume', { volume_id: volume, target_path: target }),
    record: id =>
      JSON.parse(
        fs.readFileSync(
          `${store.store.path}/state/${id.startsWith('vol') ? 'volumes' : 'snapshots'}/${id}.json`,
          'utf8',
        ),
      ),
    label: name => `${store.store.path}/refs/${name.replaceAll('/', '%2F')}`,
    [Symbol.asyncDispose]: () => plugin.kill(),
  }
  return lab
}

/** The response of a call that has to succeed. */
export function good({ code, message, response }: Answer): any {
  assert.equal(code, 'OK', message)
  return response
}

export function fromSnapshot(id: string): Record<string, unknown> {
  return { volume_content_source: { snapshot: { snapshot_id: id } } }
}

export function fromVolume(id: string): Record<string, unknown> {
  return { volume_content_source: { volume: { volume_id: id } } }
}
