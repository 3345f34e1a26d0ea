import { setTimeout as sleep } from 'node:timers/promises'
import { toStratumError } from '../../errors/errno.ts'
import type { ApiServer } from '../client/api-server.ts'
import { isMissing } from '../client/api-error.ts'
import { listObjects } from '../client/objects.ts'
import { DRIVER_NAME, SNAPSHOT_CONTENTS } from '../resources/core.ts'
import type { ControllerContext } from './world.ts'

/** Written by a snapshot-controller with --enable-distributed-snapshotting: which node's sidecar is to work on a content. */
const MANAGED_BY = 'snapshot.storage.kubernetes.io/managed-by'
const EVERY_MS = 5 * 60_000

/** Counts, now and then until the signal comes, the snapshots that wait for nobody: they have no Event, and no end. */
export async function watchSnapshots({ server, metrics, log }: ControllerContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      metrics.snapshotsUnmanaged.set(await countUnmanaged(server, signal))
    } catch (error) {
      if (!signal.aborted) log.warn({ error: toStratumError(error, 'counting').message }, 'snapshots were not counted')
    }
    await sleep(EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

/** VolumeSnapshotContents of ours that no node is asked to make; none in a cluster without snapshots. */
export async function countUnmanaged(server: ApiServer, signal: AbortSignal): Promise<number> {
  try {
    const contents = await listObjects(server, SNAPSHOT_CONTENTS, { signal })
    return contents.filter(
      ({ metadata, spec, status }) =>
        spec.driver === DRIVER_NAME && status?.readyToUse !== true && metadata.labels?.[MANAGED_BY] === undefined,
    ).length
  } catch (error) {
    if (isMissing(error)) return 0
    throw error
  }
}
