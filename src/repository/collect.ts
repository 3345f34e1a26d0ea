import type { Held } from '../collect/decide-commits.ts'
import { describeGarbage, type Description } from '../collect/describe.ts'
import { type Emptied, emptyTrash, isSpaceShort } from '../collect/empty-trash.ts'
import { explain, type Explanation } from '../collect/explain.ts'
import type { RootSource } from '../collect/root.ts'
import { type Survey, type SurveyOptions, surveyStore } from '../collect/survey.ts'
import { sweep, type Swept } from '../collect/sweep.ts'
import { toStratumError } from '../errors/errno.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { parseReference } from '../names/reference.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { lockStore } from '../store/locks.ts'
import { requireWritable } from '../store/open-store.ts'
import { GRACE_SECONDS, listTrash } from '../store/trash.ts'
import { diskUsage } from '../store/usage.ts'
import { type Context, lockOptions } from './context.ts'

export interface CollectOptions {
  /** Do not keep the grace period. */
  readonly now?: boolean
  /** Collect although no label is left: whoever removed the last one says so. */
  readonly allowEmpty?: boolean
  /** What else keeps commits: Kubernetes. */
  readonly sources?: readonly RootSource[]
  /** Seconds that things stay in the trash. */
  readonly graceSeconds?: number
  /** Milliseconds to wait until nobody else is in the store. */
  readonly lockLimitMs?: number
}

export interface CollectResult {
  /** Moved to the trash. */
  readonly commits: number
  readonly objects: number
  /** Bytes on the disk. */
  readonly bytes: number
  /** What killed commands had left half done. */
  readonly leftovers: number
  /** Deleted for good. */
  readonly freed: { readonly items: number; readonly bytes: number }
  /** What is in the trash now, and when all of it can be deleted: RFC 3339. */
  readonly trash: { readonly items: number; readonly bytes: number; readonly freedAt: string | undefined }
  /** Commits that no ref names and that stay, because their image is open or may be. */
  readonly held: readonly Held[]
  /** Things in the trash that a mount still uses, or may. */
  readonly inUse: Emptied['kept']
  /** Why not everything was done: somebody else was in the store. */
  readonly postponed: string | undefined
}

/**
 * Moves what nothing keeps into the trash, and deletes what has been there long enough. @throws busy, and integrity or any other error of
 * a source of roots: nothing is deleted then
 */
export async function collectGarbage(context: Context, options: CollectOptions = {}): Promise<CollectResult> {
  const { store, signal } = context
  requireWritable(store)
  const { lockLimitMs } = options
  const graceSeconds = options.now === true || isSpaceShort(store) ? 0 : (options.graceSeconds ?? GRACE_SECONDS)
  try {
    const survey = await surveyLocked(context, options)
    const makesRoom = graceSeconds === 0
    const before = makesRoom ? await emptyTrash(store, { graceSeconds, lockLimitMs, signal }) : undefined
    const swept = await sweep(store, survey, { ...surveyOptions(context, options), lockLimitMs })
    const work = { graceSeconds, survey, swept, before }
    try {
      const after = await emptyTrash(store, { graceSeconds, lockLimitMs, signal })
      return resultOf(context, work, after, swept.unfinished?.message)
    } catch (error) {
      if (!isStratumError(error, 'busy')) throw error
      return resultOf(context, work, undefined, error.message)
    }
  } catch (error) {
    throw toStratumError(error, 'collecting garbage')
  }
}

/** So long a command that only wants to tidy up behind itself waits for the store. */
const BEHIND_LIMIT_MS = 200

/** A collection that was put off, and why. */
export interface Postponed {
  readonly postponed: string
}

/** A collection behind another command, which must not fail or wait for it: if the store is busy, the next one does the work. */
export async function collectBehind(
  context: Context,
  options: CollectOptions = {},
): Promise<CollectResult | Postponed> {
  try {
    return await collectGarbage(context, { lockLimitMs: BEHIND_LIMIT_MS, ...options })
  } catch (error) {
    if (isStratumError(error)) return { postponed: error.message }
    throw error
  }
}

/** What a collection would do now. */
export interface Preview extends Description, Pick<Survey, 'held'>, Pick<CollectResult, 'trash'> {}

/** Says what a collection would do; changes nothing. */
export async function previewCollection(context: Context, options: CollectOptions = {}): Promise<Preview> {
  const { store } = context
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const survey = await surveyStore(store, surveyOptions(context, options))
  const trash = trashState(context, options.graceSeconds ?? GRACE_SECONDS)
  return { ...describeGarbage(store, survey), held: survey.held, trash }
}

/** What keeps a commit or object: an id, the beginning of one, or a reference. @throws usage, not-found */
export async function explainKept(
  context: Context,
  what: string,
  { sources }: Pick<CollectOptions, 'sources'> = {},
): Promise<Explanation[]> {
  const { store, signal } = context
  using _store = await lockStore(store, 'shared', lockOptions(context))
  const id = what.includes(':') ? resolveCommit(store, parseReference(what)).id : what
  return await explain(store, id, { signal, ...(sources === undefined ? {} : { sources }) })
}

async function surveyLocked(context: Context, options: CollectOptions): Promise<Survey> {
  using _store = await lockStore(context.store, 'shared', lockOptions(context))
  return await surveyStore(context.store, surveyOptions(context, options))
}

function surveyOptions({ signal, onProgress }: Context, { sources, allowEmpty }: CollectOptions): SurveyOptions {
  let bytes = 0
  return {
    signal,
    ...(sources === undefined ? {} : { sources }),
    ...(allowEmpty === undefined ? {} : { allowEmpty }),
    onCommit: (objects, imageBytes) => {
      bytes += imageBytes
      onProgress?.({ stage: 'marking', files: objects, bytes })
    },
    onObjects: files => onProgress?.({ stage: 'looking through', files, bytes }),
  }
}

interface Work {
  readonly graceSeconds: number
  readonly survey: Survey
  readonly swept: Swept
  /** What was deleted before the sweep. */
  readonly before: Emptied | undefined
}

function resultOf(
  context: Context,
  { graceSeconds, survey, swept, before }: Work,
  after: Emptied | undefined,
  postponed: string | undefined,
): CollectResult {
  const { commits, objects, bytes, leftovers } = swept
  const freed = {
    items: (before?.items ?? 0) + (after?.items ?? 0),
    bytes: (before?.bytes ?? 0) + (after?.bytes ?? 0),
  }
  const inUse = (after ?? before)?.kept ?? []
  const trash = trashState(context, graceSeconds)
  return { commits, objects, bytes, leftovers, freed, trash, held: survey.held, inUse, postponed }
}

function trashState({ store }: Context, graceSeconds: number): CollectResult['trash'] {
  const items = listTrash(store)
  const last = Math.max(...items.map(({ since }) => since))
  const bytes = items.reduce((sum, { path }) => sum + diskUsage(path).bytes, 0)
  const freedAt = items.length === 0 ? undefined : new Date(last + graceSeconds * 1000).toISOString()
  return { items: items.length, bytes, freedAt }
}
