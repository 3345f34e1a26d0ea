import { openCommitImage } from '../commits/open-image.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { scanHead } from '../heads/capture-session.ts'
import { checkPair } from '../heads/pair.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import { type HeadRecord, readHead } from '../refs/head-file.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { paths, type Store } from '../store/layout.ts'
import { type View, viewChanged, viewImage } from '../tree/diff.ts'
import { layerChanges } from '../tree/layer-changes.ts'

/** A tree that somebody named, to be looked at. */
export interface NamedView {
  readonly view: View
  /** `app:v1`, or `app` for HEAD as it is now. */
  readonly name: string
  readonly commit: CommitId | undefined
}

/** The tree of a commit, or of HEAD with what is not committed yet. The caller holds the store's shared lock. */
export async function openView(store: Store, reference: Reference, signal?: AbortSignal): Promise<NamedView> {
  const name = formatReference(reference)
  if (reference.kind === 'head')
    return { view: await viewHead(store, reference.label, signal), name, commit: undefined }
  const { id } = resolveCommit(store, reference)
  return { view: viewCommit(store, id), name, commit: id }
}

export function viewCommit(store: Store, id: CommitId): View {
  return viewImage(openCommitImage(store, id))
}

/** HEAD as it lies on disk, whether it is mounted or not. @throws not-found, integrity */
export async function viewHead(store: Store, label: Label, signal?: AbortSignal): Promise<View> {
  const head = requireHead(store, label)
  checkPair(label, paths.upper(store, label), paths.work(store, label), head)
  const base = openCommitImage(store, head.base)
  return viewChanged(base, layerChanges(base, await scanHead(store, label, signal)).change)
}

export function requireHead(store: Store, label: Label): HeadRecord {
  const head = readHead(store, label)
  if (head === undefined)
    throw new StratumError('not-found', `${label} has no HEAD`, { hint: `stratum mount ${label} makes one` })
  return head
}
