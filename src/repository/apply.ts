import { openCommitImage } from '../commits/open-image.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { captureHead, type CapturedHead } from '../heads/capture-head.ts'
import type { CaptureSession } from '../heads/capture-session.ts'
import { createHead } from '../heads/create-head.ts'
import { headMounts } from '../heads/head-mounts.ts'
import { mountHead } from '../heads/mount-head.ts'
import { recoverHead } from '../heads/recover-head.ts'
import { type Remounted, remountHead } from '../heads/remount.ts'
import { writeThrough } from '../heads/write-through.ts'
import { readMounts } from '../host/mountinfo.ts'
import { describeSource } from '../mounts/source.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import { LATEST, type Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import type { RefMove } from '../refs/log.ts'
import { HEAD_REF, moveRefs, tagRef } from '../refs/move-refs.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { readTag, readTags } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { type Difference, eachDifference, viewChanged, viewImage } from '../tree/diff.ts'
import { layerChanges } from '../tree/layer-changes.ts'
import { type Context, lockOptions } from './context.ts'
import { diffHead, diffTrees } from './diff.ts'
import { prepareMountpoint } from './mount.ts'

export interface ApplyRequest {
  /** A commit. */
  readonly reference: Reference
  /** Absolute, latin1. */
  readonly mountpoint: string
  /** Only what is at and below this path goes back. */
  readonly path: string | undefined
  /** Keep what was not committed, as a commit with a tag of its own; else a changed HEAD is refused. */
  readonly save: boolean
}

export interface ApplyResult {
  readonly label: Label
  readonly commit: CommitId
  readonly mountpoint: string
  /** The tag under which HEAD's state before is kept; undefined if it had a name already. */
  readonly saved: Tag | undefined
  /** How HEAD got there; `written` file by file, because it is in use. */
  readonly how: 'swapped' | 'folded' | 'written' | 'unchanged'
  /** Paths that were written, where it was done so. */
  readonly written: number
  /** Paths that somebody wrote to meanwhile: they stay as they are. */
  readonly kept: readonly string[]
  /** Why HEAD was not simply exchanged. */
  readonly why: string | undefined
}

const QUIET = { consistency: 'live', maxPauseMs: 1000, deadlineMs: 0, freezers: undefined } as const

/** Sets HEAD back to a commit, on the fly where nobody can lose a write. @throws not-found, in-use, unclean (changes and `save` false) */
export async function applyCommit(context: Context, request: ApplyRequest): Promise<ApplyResult> {
  const { store } = context
  const { reference, mountpoint } = request
  const { label } = reference
  requireWritable(store)
  if (reference.kind === 'head')
    throw new StratumError('usage', `${label} is HEAD itself: name the commit that it is to go back to, as label:tag`)
  using _label = await lockLabel(store, label, lockOptions(context))
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const recovered = await recoverHead(store, label)
  const { id } = resolveCommit(store, reference)
  requireOwnMountpoint(store, label, mountpoint)
  const head = recovered ?? createHead(store, label, id)
  // Nothing is written for what is refused; whether it still holds is asked again when HEAD was read.
  if (!request.save && (await diffHead(context, label)).differences.length > 0) throw uncommitted(label)
  const applying: Applying = { context, request, head, target: id }
  const mounted = headMounts(store, label).length > 0
  // A part of the tree is written through a mount; the whole of it is exchanged before it is mounted.
  if (!mounted && request.path !== undefined) await mountAnew(applying)
  const result = await applyCaptured(applying)
  if (headMounts(store, label).length === 0) await mountAnew(applying)
  return result
}

interface Applying {
  readonly context: Context
  readonly request: ApplyRequest
  readonly head: HeadRecord
  readonly target: CommitId
}

/** @throws in-use where something else is mounted there, or HEAD is mounted elsewhere */
function requireOwnMountpoint(store: Store, label: Label, mountpoint: string): void {
  const own = headMounts(store, label)
  const there = own.findLast(mounted => mounted.mountpoint === mountpoint) // the one on top
  if (there?.isWhole) return
  const elsewhere = there ?? own[0]
  if (elsewhere !== undefined) {
    if (!elsewhere.isWhole) {
      throw new StratumError(
        'in-use',
        `only a directory of HEAD of ${label} is mounted, at ${toUser(elsewhere.mountpoint)}`,
        { hint: `Unmount it first: stratum unmount ${toUser(elsewhere.mountpoint)}` },
      )
    }
    throw new StratumError(
      'in-use',
      `HEAD of ${label} is mounted at ${toUser(elsewhere.mountpoint)}, not at ${toUser(mountpoint)}`,
      { hint: `Apply it there: ${toUser(elsewhere.mountpoint)}` },
    )
  }
  const other = readMounts().find(mount => mount.mountpoint === mountpoint)
  if (other !== undefined)
    throw new StratumError(
      'in-use',
      `${toUser(mountpoint)} is a mountpoint of something else (${describeSource(other.source)})`,
      { hint: `stratum apply sets HEAD of ${label} back; it takes no other mount's place` },
    )
}

async function mountAnew({ context: { store }, request: { mountpoint, reference } }: Applying): Promise<void> {
  const head = await recoverHead(store, reference.label)
  using _place = prepareMountpoint(mountpoint)
  if (head !== undefined) await mountHead(store, reference.label, head, mountpoint)
}

async function applyCaptured(applying: Applying): Promise<ApplyResult> {
  const { context, request, head, target } = applying
  const { store, actor, signal } = context
  const { label } = request.reference
  const outcome: { result: ApplyResult | undefined } = { result: undefined }
  const options = {
    ...QUIET,
    message: `before apply of ${formatReference(request.reference)}`,
    author: actor,
    allowUnclean: true,
    signal,
  }
  await captureHead(store, label, head, options, async (captured, session) => {
    const saved = saveBefore(applying, captured)
    const common = {
      label,
      commit: target,
      mountpoint: request.mountpoint,
      saved,
      written: 0,
      kept: [],
      why: undefined,
    }
    if (captured.commit.metadata.id === target) outcome.result = { ...common, how: 'unchanged' }
    else if (request.path !== undefined)
      outcome.result = { ...common, how: 'written', ...writeDifferences(applying, captured) }
    else outcome.result = { ...common, ...(await exchangeOrWrite(applying, captured, session)) }
  })
  return outcome.result as ApplyResult
}

/** Gives HEAD's state before a name, unless it has one, and says where HEAD goes. @throws unclean */
function saveBefore({ context, request, head, target }: Applying, { commit }: CapturedHead): Tag | undefined {
  const { store, actor } = context
  const { label } = request.reference
  const { id } = commit.metadata
  const isDirty = id !== head.lastCommit
  if (isDirty && !request.save) throw uncommitted(label)
  const isNamed = id === target || [...readTags(store, label)].some(([tag, named]) => named === id && tag !== LATEST)
  const tag = isNamed ? undefined : freeTag(store, label)
  const moves = new Map<string, RefMove>()
  if (tag !== undefined) moves.set(tagRef(tag), { from: null, to: id })
  if (request.path === undefined) moves.set(HEAD_REF, { from: head.lastCommit, to: target })
  const notes = request.path === undefined ? { to: target } : { to: target, path: toUser(request.path) }
  moveRefs(store, label, { actor, operation: 'apply', notes }, moves)
  return tag
}

function uncommitted(label: Label): StratumError {
  return new StratumError('unclean', `HEAD of ${label} has changes that are not committed`, {
    hint: `stratum diff ${label} shows them; stratum commit ${label} keeps them, or leave away --no-save`,
  })
}

/** `before-apply-20261122T103000Z`, with a number behind it where that is taken. */
function freeTag(store: Store, label: Label): Tag {
  const stamp = `before-apply-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
  for (let number = 1; ; number++) {
    const tag = (number === 1 ? stamp : `${stamp}-${number}`) as Tag
    if (readTag(store, label, tag) === undefined) return tag
  }
}

async function exchangeOrWrite(
  applying: Applying,
  captured: CapturedHead,
  session: CaptureSession,
): Promise<Pick<ApplyResult, 'how' | 'written' | 'kept' | 'why'>> {
  const { context, request, target } = applying
  const { label } = request.reference
  const options = {
    to: target,
    lastCommit: target,
    scan: captured.scan,
    session,
    freezers: undefined,
    maxPauseMs: QUIET.maxPauseMs,
  }
  const remounted: Remounted = await remountHead(context.store, label, options)
  if (remounted.how !== 'later') return { how: remounted.how, written: 0, kept: [], why: undefined }
  if (headMounts(context.store, label).length === 0) {
    throw new StratumError('in-use', `HEAD of ${label} cannot be set back: ${remounted.why}`, {
      hint: 'End the processes that still use the old mount',
    })
  }
  return { how: 'written', ...writeDifferences(applying, captured), why: remounted.why }
}

/** Writes what differs through the mount. */
function writeDifferences(
  { context: { store }, request, head, target }: Applying,
  { scan }: CapturedHead,
): Pick<ApplyResult, 'written' | 'kept'> {
  const base = openCommitImage(store, head.base)
  const now = viewChanged(base, layerChanges(base, scan).change)
  const wanted = viewImage(target === head.base ? base : openCommitImage(store, target))
  const differences: Difference[] = []
  eachDifference(
    now,
    wanted,
    difference => void (isMeant(difference.path, request.path) && differences.push(difference)),
  )
  const kept = writeThrough(store, request.mountpoint, { target: wanted, differences, scan })
  return { written: differences.length - kept.length, kept }
}

function isMeant(path: string, wanted: string | undefined): boolean {
  return wanted === undefined || path === wanted || path.startsWith(`${wanted}/`)
}

/** What `applyCommit` would change, for `--dry-run`. */
export async function previewApply(context: Context, request: ApplyRequest): Promise<Difference[]> {
  const { reference, path } = request
  const { differences } = await diffTrees(context, { label: reference.label, kind: 'head' }, reference)
  return differences.filter(difference => isMeant(difference.path, path))
}
