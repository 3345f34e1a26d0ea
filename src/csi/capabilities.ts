import { StratumError } from '../errors/stratum-error.ts'
import type { ControllerServiceCapability } from './generated/csi/v1/ControllerServiceCapability.ts'
import type { PluginCapability } from './generated/csi/v1/PluginCapability.ts'
import type { Topology, Topology__Output } from './generated/csi/v1/Topology.ts'
import type { TopologyRequirement__Output } from './generated/csi/v1/TopologyRequirement.ts'
import type { VolumeCapability__Output } from './generated/csi/v1/VolumeCapability.ts'
import type { DriverOptions } from '../volumes/volumes.ts'

/** docs/csi.md says what is left out, and why. */
const CONTROLLER_CAPABILITIES = [
  'CREATE_DELETE_VOLUME',
  'CLONE_VOLUME',
  'CREATE_DELETE_SNAPSHOT',
  'LIST_SNAPSHOTS',
  'GET_SNAPSHOT',
  'LIST_VOLUMES',
  'GET_VOLUME',
  'GET_CAPACITY',
  'SINGLE_NODE_MULTI_WRITER',
] as const

const PLUGIN_CAPABILITIES = ['CONTROLLER_SERVICE', 'VOLUME_ACCESSIBILITY_CONSTRAINTS'] as const

export function controllerCapabilities(): ControllerServiceCapability[] {
  return CONTROLLER_CAPABILITIES.map(type => ({ rpc: { type } }))
}

export function pluginCapabilities(): PluginCapability[] {
  return PLUGIN_CAPABILITIES.map(type => ({ service: { type } }))
}

/** A HEAD is on one node: writers there, as many as the mode says. */
const ACCESS_MODES: ReadonlySet<string> = new Set([
  'SINGLE_NODE_WRITER',
  'SINGLE_NODE_READER_ONLY',
  'SINGLE_NODE_SINGLE_WRITER',
  'SINGLE_NODE_MULTI_WRITER',
])

type Capabilities = readonly VolumeCapability__Output[]

/** What a dynamic volume cannot be used as, of what is asked for; undefined if it can. @throws usage for what says nothing */
export function unsupportedUse(capabilities: Capabilities): string | undefined {
  if (capabilities.length === 0) throw new StratumError('usage', 'volume_capabilities is missing')
  for (const { access_type, access_mode, mount } of capabilities) {
    const mode = access_mode?.mode
    if (access_type === undefined) throw new StratumError('usage', 'a volume capability names no access type')
    if (mode === undefined || mode === 'UNKNOWN')
      throw new StratumError('usage', 'a volume capability names no access mode')
    if (access_type === 'block') return 'a volume is a directory tree and no block device'
    if (!ACCESS_MODES.has(mode)) return `a HEAD is on one node and cannot be ${mode} (a tag can be read on many)`
    if (mount?.fs_type) return `a volume has no file system type of its own: leave ${mount.fs_type} away`
  }
  return undefined
}

/** @throws usage */
export function requireUse(capabilities: Capabilities): void {
  const trouble = unsupportedUse(capabilities)
  if (trouble !== undefined) throw new StratumError('usage', trouble)
}

/** The key of the node in topologies. */
export function topologyKey(driver: string): string {
  return `topology.${driver}/node`
}

export function ownTopology(driver: DriverOptions): Topology[] {
  return [{ segments: { [topologyKey(driver.name)]: driver.nodeId } }]
}

/** Whether something on this node is accessible from there. A topology that says nothing is everywhere. */
export function isHere(driver: DriverOptions, { segments }: Topology__Output): boolean {
  return Object.entries(segments).every(([key, value]) => key === topologyKey(driver.name) && value === driver.nodeId)
}

/** @throws wrong-node, so that the scheduler looks for another one */
export function requireHere(driver: DriverOptions, requirement: TopologyRequirement__Output | null): void {
  const requisite = requirement?.requisite ?? []
  if (requisite.length === 0 || requisite.some(topology => isHere(driver, topology))) return
  throw new StratumError('wrong-node', `this is node ${driver.nodeId}; the volume is wanted elsewhere`)
}
