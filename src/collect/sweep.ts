import { setTimeout as sleep } from 'node:timers/promises'
import { listCommits } from '../commits/commit-store.ts'
import { isStratumError, type StratumError } from '../errors/stratum-error.ts'
import { syncDirectory } from '../host/files.ts'
import { paths, type Store } from '../store/layout.ts'
import { lockStore, SWEEP_LIMIT_MS } from '../store/locks.ts'
import { type Bin, openBin } from './bin.ts'
import { clearLeftovers } from './leftovers.ts'
import { markCommits } from './mark.ts'
import { folderTimes, isRemembered, memoOf, remember } from './memo.ts'
import { commitBytes, decide, type Survey, type SurveyOptions } from './survey.ts'

/** What a sweep took away. */
export interface Swept {
  commits: number
  objects: number
  /** Bytes on the disk. */
  bytes: number
  /** Things that killed commands had left half done and that were cleared away. */
  leftovers: number
  /** Why there is more to be taken: somebody came in between. */
  unfinished: StratumError | undefined
}

export interface SweepOptions extends SurveyOptions {
  /** Milliseconds to wait for everybody else to leave the store. */
  readonly lockLimitMs?: number | undefined
}

/** Nobody else may do anything meanwhile, so a long sweep lets the others in now and then. */
const SLICE_MS = 1_000
const PAUSE_MS = 100

/**
 * Moves what a survey found into the trash: commits first, then objects, so that no commit is ever without its objects. Nobody else is in
 * the store meanwhile, and what became reachable since the survey stays. @throws busy, and whatever makes it unsafe to delete anything
 */
export async function sweep(store: Store, survey: Survey, options: SweepOptions = {}): Promise<Swept> {
  const swept: Swept = { commits: 0, objects: 0, bytes: 0, leftovers: 0, unfinished: undefined }
  const isEmpty = survey.go.length + survey.garbage.size === 0
  using bin = openBin(store)
  const moves = moveAll(store, survey, swept, bin)
  try {
    for (let isDone = false, isFirst = true; !isDone; isFirst = false) {
      if (!isFirst) await sleep(PAUSE_MS)
      isDone = await sweepSlice(store, survey, { bin, moves }, options, isFirst ? swept : undefined)
    }
  } catch (error) {
    if (!isStratumError(error, 'busy')) throw error
    if (!isEmpty && swept.commits + swept.objects === 0) throw error
    if (!isEmpty) swept.unfinished = error
  }
  return swept
}

/** One turn alone in the store; the first one tidies up too. Whether everything is moved now. */
async function sweepSlice(
  store: Store,
  survey: Survey,
  { bin, moves }: { bin: Bin; moves: Generator<void> },
  options: SweepOptions,
  first: Swept | undefined,
): Promise<boolean> {
  const { lockLimitMs = SWEEP_LIMIT_MS, signal } = options
  using _lock = await lockStore(store, 'exclusive', { limitMs: lockLimitMs, signal })
  const end = performance.now() + SLICE_MS
  bin.beginTurn()
  const { stay } = await decide(store, options)
  if (survey.garbage.size > 0) await markCommits(store, survey.mark, stay.keys())
  else for (const id of stay.keys()) survey.mark.commits.add(id)
  if (first !== undefined) first.leftovers = clearLeftovers(store)
  const isAsSurveyed = first !== undefined && folderTimes(store) === survey.folderTimes
  do {
    signal?.throwIfAborted()
    if (!moves.next().done) continue
    if (isAsSurveyed) rememberCollected(store, survey, stay)
    return true
  } while (performance.now() < end)
  return false
}

/** If nobody came in between: then what is left in the folders of objects is what these commits name. */
function rememberCollected(store: Store, survey: Survey, stay: Survey['stay']): void {
  const commits = listCommits(store)
  const present = new Set(commits)
  if (!commits.every(id => stay.has(id)) || ![...survey.stay.keys()].every(id => present.has(id))) return
  const memo = memoOf(store, commits)
  if (memo !== undefined && !isRemembered(store, memo)) remember(store, memo)
}

/** One move at each step; what is marked by then is passed over. */
function* moveAll(store: Store, { go, mark, garbage, garbageBytes }: Survey, swept: Swept, bin: Bin): Generator<void> {
  for (const id of go) {
    if (mark.commits.has(id)) continue
    const bytes = commitBytes(store, id)
    if (!bin.takeCommit(id)) continue
    swept.commits++
    swept.bytes += bytes
    yield
  }
  if (swept.commits > 0) syncDirectory(paths.commits(store)) // before an object of theirs goes
  for (let number = 0; number < garbage.size; number++) {
    const digest = garbage.digest(number)
    if (mark.objects.findDigest(digest) >= 0 || !bin.takeObject(digest)) continue
    swept.objects++
    swept.bytes += garbageBytes[number]
    yield
  }
}
