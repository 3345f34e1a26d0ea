import { patchObject } from '../client/objects.ts'
import { NODES } from '../resources/core.ts'
import type { ControllerContext, World } from './world.ts'

/** Put on new nodes by who makes them, so that no pod starts before the plugin is there. */
export const STARTUP_TAINT = 'stratum.csi.dev/not-ready'

/** Takes the start-up taint from a node as soon as kubelet knows the plugin. */
export async function lookAtNode(
  { server, log }: ControllerContext,
  world: World,
  name: string,
  signal: AbortSignal,
): Promise<undefined> {
  const node = world.nodes.get(name)
  const taints = node?.spec?.taints ?? []
  const hasPlugin = (world.csiNodes.get(name)?.spec.drivers ?? []).length > 0
  if (node === undefined || !hasPlugin || !taints.some(({ key }) => key === STARTUP_TAINT)) return
  const { resourceVersion } = node.metadata
  const spec = { taints: taints.filter(({ key }) => key !== STARTUP_TAINT) }
  await patchObject(server, NODES, { name }, { metadata: { resourceVersion }, spec }, { signal })
  log.info({ node: name }, 'start-up taint removed')
}
