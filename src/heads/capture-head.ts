import { throwIfInterrupted } from '../host/signals.ts'
import { openCommitImage } from '../commits/open-image.ts'
import { createCommit, type CreatedCommit } from '../commits/create-commit.ts'
import { touchProbeAside } from '../capture/probe.ts'
import type { LayerScan } from '../capture/scan-layer.ts'
import type { Image } from '../erofs/arena.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import type { Label } from '../names/label.ts'
import type { ChangeCounts, HeadRecord } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { createStaging } from '../store/staging.ts'
import type { Change } from '../tree/entry.ts'
import { eachDifference, viewChanged, viewImage } from '../tree/diff.ts'
import { layerChanges } from '../tree/layer-changes.ts'
import { mergeTree } from '../tree/merge.ts'
import { isDirectory } from '../tree/append.ts'
import { type CaptureSession, openCaptureSession } from './capture-session.ts'
import { headMounts } from './head-mounts.ts'
import { checkPair } from './pair.ts'
import { scanStill, type StillOptions } from './stand-still.ts'
import { suspiciousFiles } from './unclean.ts'

/** HEAD as one commit captured it. */
export interface CapturedHead {
  readonly commit: CreatedCommit
  readonly scan: LayerScan
  readonly changes: ChangeCounts
  readonly pauseMs: number
  readonly unstable: readonly string[]
  /** Hard links of the base that were torn apart when the upperdir was copied. */
  readonly torn: readonly string[]
  /** Files that look cut by a power loss and were taken as they are. */
  readonly suspicious: readonly string[]
}

export interface CaptureOptions extends StillOptions {
  readonly message: string | undefined
  readonly author: string | undefined
  /** Commit even where files look as if a power loss had cut them. */
  readonly allowUnclean: boolean
  readonly signal: AbortSignal | undefined
  /** Work that goes on beside the making of the commit, once HEAD was read; `complete` comes after it. Never fails. */
  readonly beside?: (scan: LayerScan) => Promise<void>
}

/**
 * Makes a commit of HEAD as it is and hands it to `complete`, which moves the refs and may re-mount. The caller holds the label's lock and the store's shared
 * one. @throws in-use (idle refused), timeout (freeze), unclean, integrity
 */
export async function captureHead(
  store: Store,
  label: Label,
  head: HeadRecord,
  options: CaptureOptions,
  complete: (captured: CapturedHead, session: CaptureSession) => Promise<void>,
): Promise<CapturedHead> {
  checkPair(label, paths.upper(store, label), paths.work(store, label), head)
  using staging = createStaging(store)
  const probe = touchProbeAside(store)
  probe.catch(() => undefined) // it is waited for below, unless the image is damaged
  const base = openCommitImage(store, head.base)
  await using session = openCaptureSession(store, label, staging, { probe: await probe, signal: options.signal })
  const target = { store, label, head, mounted: headMounts(store, label), session, signal: options.signal }
  const still = await scanStill(target, options)
  const suspicious = suspiciousFiles(head, still.scan)
  if (!options.allowUnclean) refuseSuspicious(label, suspicious)
  const beside = options.beside?.(still.scan)
  const { change, torn } = layerChanges(base, still.scan)
  const tree = mergeTree(base, change)
  const staged = await session.pool.finish()
  const commit = await createCommit(store, staging, {
    tree,
    staged,
    parent: head.lastCommit,
    message: options.message,
    author: options.author,
  })
  session.saveHashes(still.scan)
  await beside
  await throwIfInterrupted(options.signal)
  const captured: CapturedHead = { ...still, commit, torn, suspicious, changes: countChanges(base, change) }
  await complete(captured, session)
  return captured
}

function refuseSuspicious(label: Label, suspicious: readonly string[]): void {
  if (suspicious.length === 0) return
  const shown = suspicious.slice(0, 10).map(toUser)
  throw new StratumError(
    'unclean',
    `the machine stopped while ${label} was in use, and ${suspicious.length} files look cut: ${shown.join(', ')}${suspicious.length > 10 ? ', …' : ''}`,
    {
      hint: 'Look at them; then commit with --allow-unclean, or go back with stratum apply',
      details: { files: suspicious.map(toUser) },
    },
  )
}

/** What HEAD changed against its base. */
export function countChanges(base: Image, change: Change): ChangeCounts {
  const counts = { added: 0, modified: 0, removed: 0, bytes: 0, countedAt: new Date().toISOString() }
  eachDifference(viewImage(base), viewChanged(base, change), ({ kind, before, after }) => {
    if (isDirectory((after ?? before)?.mode ?? 0)) return
    if (kind === '+') counts.added++
    else if (kind === '-') counts.removed++
    else counts.modified++
    if (kind !== '-') counts.bytes += after?.size ?? 0
  })
  return counts
}
