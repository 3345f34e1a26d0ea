import { createHashRecorder, openHashCache, type Volume, volumeOf } from '../capture/hash-cache.ts'
import { createReaderPool, type ReaderPool } from '../capture/reader-pool.ts'
import { type LayerScan, type ScannedNode, type ScanOptions, scanLayer } from '../capture/scan-layer.ts'
import { close, openDirectory } from '../host/descriptors.ts'
import type { Label } from '../names/label.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Staging } from '../store/staging.ts'

type ScanLimits = Pick<ScanOptions, 'trustStat' | 'endAt'>

/** The scans of one capture of HEAD: what they need in common. */
export interface CaptureSession extends AsyncDisposable {
  readonly pool: ReaderPool
  /** Reads HEAD; with a scan before, only what may have changed since. */
  scan(previous?: LayerScan, limits?: ScanLimits): Promise<LayerScan>
  /** Remembers the hashes of files that held still, for the next commit. */
  saveHashes(scan: LayerScan): void
}

export interface CaptureSessionOptions {
  /** What `touchProbe` said. */
  readonly probe: bigint
  readonly signal?: AbortSignal | undefined
  readonly change?: (pool: ReaderPool) => ReaderPool
}

/** On such a file system every scan reads everything. */
const NOTHING_SETTLES = 0n

export function openCaptureSession(
  store: Store,
  label: Label,
  staging: Staging,
  { probe: touched, signal, change = pool => pool }: CaptureSessionOptions,
): CaptureSession {
  const cachePath = paths.hashCache(store, label, 'head')
  const pool = change(createReaderPool(store, staging, signal))
  const volume = volumeOfStore(store)
  const probe = volume === undefined ? NOTHING_SETTLES : touched
  const cache = openHashCache(cachePath, volume)
  const recorder = createHashRecorder()
  return {
    pool,
    scan: (previous, limits = {}) =>
      scanLayer(paths.upper(store, label), paths.work(store, label), { pool, cache, probe, previous, ...limits }),
    saveHashes(scan) {
      for (const node of settledFiles(scan))
        recorder.add(node.stat, { digest: node.content?.digest as string, hasXattrs: true })
      recorder.save(cachePath, volume)
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

function volumeOfStore(store: Store): Volume | undefined {
  const folder = openDirectory(store.path)
  try {
    return volumeOf(folder)
  } finally {
    close(folder)
  }
}

function settledFiles({ root, index }: LayerScan): Set<ScannedNode> {
  const files = new Set<ScannedNode>()
  const visit = (node: ScannedNode): void => {
    if (node.settled && node.content?.digest !== undefined) files.add(node)
    for (const child of node.children?.values() ?? []) visit(child)
  }
  visit(root)
  for (const node of index.values()) visit(node)
  return files
}

/** One look at HEAD for `status` and `diff`: nothing is written, and what was hashed is not remembered. */
export async function scanHead(store: Store, label: Label, signal?: AbortSignal): Promise<LayerScan> {
  await using pool = createReaderPool(store, undefined, signal)
  const cache = openHashCache(paths.hashCache(store, label, 'head'), volumeOfStore(store))
  return await scanLayer(paths.upper(store, label), paths.work(store, label), {
    pool,
    cache,
    probe: 0n,
    previous: undefined,
  })
}
