import { StratumError } from '../errors/stratum-error.ts'
import { hasCommit } from '../commits/commit-store.ts'
import { type MountInfo, readMounts, readMountsOfAllNamespaces } from '../host/mountinfo.ts'
import { inspectRecords, type MountRecord } from '../mounts/records.ts'
import { labelOfSource, parseMountSource, placeOf } from '../mounts/source.ts'
import { toUser } from '../names/text.ts'
import type { Store } from '../store/layout.ts'
import type { Root } from './root.ts'

const PREFIX = 'stratum:'

/**
 * What is mounted, as far as this process sees it: in its own mount namespace and in every other that a process it can see is in. Mounts
 * elsewhere, and such that are attached nowhere, keep their commits by the lease (`open-images.ts`). The records in /run/stratum only
 * say since when; a record alone keeps nothing, for the lease tells whether its mount lives. @throws integrity
 */
export async function mountRoots(store: Store): Promise<Root[]> {
  const { records, damagedLines } = await inspectRecords()
  if (damagedLines > 0)
    throw new StratumError('integrity', `${damagedLines} lines of the records of mounts in /run/stratum are damaged`, {
      hint: 'stratum fsck --repair writes them anew from what is mounted',
    })
  const namespaces = [{ pid: undefined, mounts: readMounts() }, ...readMountsOfAllNamespaces()]
  const found = new Map<string, Root>()
  for (const { pid, mounts } of namespaces) {
    for (const mount of mounts) {
      const root = rootOf(store, mount, pid, records)
      const key = `${root?.commit} ${mount.mountpoint}`
      if (root !== undefined && !found.has(key)) found.set(key, root)
    }
  }
  return [...found.values()]
}

function rootOf(
  store: Store,
  { type, source: text, mountpoint }: MountInfo,
  pid: number | undefined,
  records: readonly MountRecord[],
): Root | undefined {
  if (type !== 'overlay' || !text.startsWith(PREFIX) || !text.includes(store.id)) return undefined
  const source = parseMountSource(text)
  if (source === undefined)
    throw new StratumError(
      'integrity',
      `the mount at ${toUser(mountpoint)} says of itself ${JSON.stringify(text)}, which is not understood`,
    )
  // Two copies of a store have one id. What only the other one has cannot be kept here.
  if (source.place !== undefined && source.place !== placeOf(store) && !hasCommit(store, source.commit))
    return undefined
  const label = labelOfSource(store, source)
  const record = records.find(record => record.source === text && record.mountpoint === mountpoint)
  const where = pid === undefined ? '' : ` that pid ${pid} sees`
  const since = record === undefined ? '' : ` since ${record.time}`
  return {
    commit: source.commit,
    kind: 'mount',
    holder: `the mount of ${label} at ${toUser(mountpoint)}${where}${since}`,
    label,
  }
}
