import { setTimeout as sleep } from 'node:timers/promises'
import { isStratumError } from '../../errors/stratum-error.ts'
import { toStratumError } from '../../errors/errno.ts'
import type { ApiServer } from '../client/api-server.ts'
import { isConflict, isMissing } from '../client/api-error.ts'
import { keyOf, listObjects, patchObject } from '../client/objects.ts'
import { DRIVER_NAME, MANAGED_BY, SNAPSHOT_CONTENTS, type VolumeSnapshotContent } from '../resources/core.ts'
import type { ControllerContext, World } from './world.ts'

const EVERY_MS = 60_000
/** The store's id begins so: see volumes/volume-record.ts. */
const SNAPSHOT_ID = /^snap-([0-9a-f]{8})-[0-9a-f]+$/

/**
 * Looks, now and then until the signal comes, for snapshots that no node is asked to make: they have no Event, and no end. A cluster's
 * snapshot-controller names the node of those that it makes itself, if it was told to (`--enable-distributed-snapshotting`); of those that somebody
 * made by hand for a snapshot that exists, it is named here. The others are counted.
 */
export async function watchSnapshots(context: ControllerContext, world: World, signal: AbortSignal): Promise<void> {
  const { server, metrics, log } = context
  while (!signal.aborted) {
    try {
      const { named, unmanaged } = await manageSnapshots(server, id => nodeOfStore(world, id), signal)
      metrics.snapshotsUnmanaged.set(unmanaged)
      for (const { content, node } of named) log.info({ content, node }, 'node of a snapshot named')
    } catch (error) {
      if (!signal.aborted)
        log.warn({ error: toStratumError(error, 'snapshots').message }, 'snapshots were not looked at')
    }
    await sleep(EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

export interface Managed {
  readonly named: readonly { readonly content: string; readonly node: string }[]
  readonly unmanaged: number
}

/** Names nodes for VolumeSnapshotContents of ours that have none; `nodeOf` knows stores by the beginning of their ids. */
export async function manageSnapshots(
  server: ApiServer,
  nodeOf: (storeId: string) => string | undefined,
  signal: AbortSignal,
): Promise<Managed> {
  const named: { content: string; node: string }[] = []
  let unmanaged = 0
  for (const content of await contentsWithoutNode(server, signal)) {
    const storeId = SNAPSHOT_ID.exec(content.spec.source?.snapshotHandle ?? '')?.[1]
    const node = storeId === undefined ? undefined : nodeOf(storeId)
    if (node === undefined) {
      if (content.status?.readyToUse !== true) unmanaged++
      continue
    }
    const { name, resourceVersion } = content.metadata
    const patch = { metadata: { resourceVersion, labels: { [MANAGED_BY]: node } } }
    try {
      await patchObject(server, SNAPSHOT_CONTENTS, keyOf(content), patch, { signal })
      named.push({ content: name, node })
    } catch (error) {
      if (!isStratumError(error, 'not-found') && !isConflict(error)) throw error // it is looked at again
    }
  }
  return { named, unmanaged }
}

/** None in a cluster without snapshots. */
async function contentsWithoutNode(server: ApiServer, signal: AbortSignal): Promise<VolumeSnapshotContent[]> {
  try {
    const contents = await listObjects(server, SNAPSHOT_CONTENTS, { labelSelector: `!${MANAGED_BY}`, signal })
    return contents.filter(({ spec }) => spec.driver === DRIVER_NAME)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** The node whose store has an id that begins so; undefined if none is known, or several. */
function nodeOfStore(world: World, beginning: string): string | undefined {
  const found = new Set<string>()
  for (const { status } of world.labels.values())
    for (const { storeId, nodeName } of [status?.holder, ...(status?.nodes ?? [])].filter(each => each != null))
      if (storeId?.startsWith(beginning)) found.add(nodeName)
  const [node] = found
  return found.size === 1 && world.nodes.get(node) !== undefined ? node : undefined
}
