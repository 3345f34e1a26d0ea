import fs from 'node:fs/promises'
import { StratumError } from '../errors/stratum-error.ts'
import { readCommit } from '../commits/commit-store.ts'
import { fileSystemSpace } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import { fromUser, nodePath, toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Published } from './ledger.ts'
import { mountAt } from './targets.ts'
import type { Volumes } from './volumes.ts'

/** What a volume holds, and the room below it. */
export interface VolumeStats {
  readonly usedBytes: number
  readonly usedInodes: number
  readonly space: ReturnType<typeof fileSystemSpace>
}

interface Usage {
  readonly bytes: number
  readonly inodes: number
}

/** So long a count of an upperdir is told again; kubelet asks once a minute. */
const FRESH_MS = 30_000
/** A first count that takes longer goes on in the background. */
const PATIENCE_MS = 500

/** Counts of upperdirs: a walk of each takes as long as it has changes. */
export interface UsageCache {
  readonly counts: Map<Label, Count>
}

interface Count {
  usage: Usage | undefined
  /** On the clock of `performance.now`. */
  at: number
  walking: Promise<void> | undefined
}

export function createUsageCache(): UsageCache {
  return { counts: new Map() }
}

/**
 * Of a HEAD, what its upperdir takes up; of a tag, what its commit holds; and the file system that both live on. @throws not-found (not
 * published there)
 */
export async function volumeStats(
  volumes: Volumes,
  cache: UsageCache,
  { volumeId, path: text }: { readonly volumeId: string; readonly path: string },
): Promise<VolumeStats> {
  const path = fromUser(text)
  const published = volumes.ledger.published.get(path)
  const isThere =
    published !== undefined &&
    (published.volumeId ?? volumeId) === volumeId &&
    mountAt(volumes.driver, { path, podUid: undefined }) === published.mount
  if (!isThere) throw new StratumError('not-found', `volume ${volumeId} is not published at ${toUser(path)}`)
  const { bytes, inodes } = await usageOf(volumes.store, cache, published)
  return { usedBytes: bytes, usedInodes: inodes, space: fileSystemSpace(volumes.store.path) }
}

async function usageOf(store: Store, cache: UsageCache, { label, name, commit }: Published): Promise<Usage> {
  if (name === undefined) return upperUsage(store, cache, label)
  const { bytes, files } = readCommit(store, commit)
  return { bytes, inodes: files }
}

async function upperUsage(store: Store, { counts }: UsageCache, label: Label): Promise<Usage> {
  const known: Count = counts.get(label) ?? { usage: undefined, at: Number.NEGATIVE_INFINITY, walking: undefined }
  counts.set(label, known)
  if (known.walking === undefined && performance.now() - known.at > FRESH_MS) {
    known.walking = recount(known, paths.upper(store, label))
  }
  if (known.usage === undefined) await Promise.race([known.walking, patience()])
  return known.usage ?? { bytes: 0, inodes: 0 }
}

async function recount(count: Count, upperdir: string): Promise<void> {
  count.usage = await countTree(upperdir)
  count.at = performance.now()
  count.walking = undefined
}

function patience(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, PATIENCE_MS).unref())
}

const BLOCK_BYTES = 512

/** Allocated bytes and inodes of a tree that others change meanwhile: a hard link counts once, what vanishes does not, the top does. */
async function countTree(top: string): Promise<Usage> {
  const seen = new Set<bigint>()
  let bytes = 0
  const open = [top]
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    const entries = await fs.readdir(nodePath(folder), { withFileTypes: true, encoding: 'latin1' }).catch(() => [])
    for (const entry of entries) {
      const path = `${folder}/${entry.name}`
      const stat = await fs.lstat(nodePath(path), { bigint: true }).catch(() => undefined)
      if (stat === undefined || seen.has(stat.ino)) continue
      seen.add(stat.ino)
      bytes += Number(stat.blocks) * BLOCK_BYTES
      if (entry.isDirectory()) open.push(path)
    }
  }
  return { bytes, inodes: seen.size + 1 }
}
