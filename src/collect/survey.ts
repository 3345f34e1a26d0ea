import { setImmediate as nextTurn } from 'node:timers/promises'
import { listCommits } from '../commits/commit-store.ts'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { createDigestTable, type DigestTable } from '../hashes/digest-table.ts'
import { close, openDirectory } from '../host/descriptors.ts'
import { exists, listNames } from '../host/files.ts'
import { statAt, statIfExists } from '../host/stat.ts'
import type { CommitId } from '../names/commit-id.ts'
import { toUser } from '../names/text.ts'
import { OBJECT_FOLDERS, objectName, paths, type Store } from '../store/layout.ts'
import { listTrash } from '../store/trash.ts'
import { type Decision, decideCommits } from './decide-commits.ts'
import { findLost } from './lost-objects.ts'
import { createMark, type Mark, type MarkOptions, markCommits, markQuarantine } from './mark.ts'
import { folderTimes, isRemembered, memoOf } from './memo.ts'
import { probeImage } from './open-images.ts'
import { hasLabels } from './ref-roots.ts'
import type { RootSource } from './root.ts'
import { readRoots } from './roots.ts'

/** What a collection would take, and why the rest stays. Nothing was changed to find it out. */
export interface Survey extends Decision {
  readonly mark: Mark
  /** Objects that no commit names which stays, with the bytes that each takes on the disk. */
  readonly garbage: DigestTable
  readonly garbageBytes: readonly number[]
  /** When something last came into each folder of objects or went, as it was before they were looked at. */
  readonly folderTimes: string
}

export interface SurveyOptions extends MarkOptions {
  readonly sources?: readonly RootSource[]
  /** Collect although no label is left. */
  readonly allowEmpty?: boolean
  readonly onObjects?: ((objects: number) => void) | undefined
}

/**
 * Looks through the store: at everything, or where the last collection left nothing unused and nothing came since, at what the commits
 * lose that go. The caller holds the store's shared lock. @throws whatever makes it unsafe to delete anything
 */
export async function surveyStore(store: Store, options: SurveyOptions = {}): Promise<Survey> {
  const decision = await decide(store, options)
  const times = folderTimes(store)
  const mark = createMark()
  const found =
    (await findLostObjects(store, decision, mark, options)) ?? (await findAll(store, decision, mark, options))
  return { ...decision, mark, ...found, folderTimes: times }
}

type Garbage = Pick<Survey, 'garbage' | 'garbageBytes'>

async function findAll(store: Store, { stay }: Decision, mark: Mark, options: SurveyOptions): Promise<Garbage> {
  await markCommits(store, mark, stay.keys(), options)
  markQuarantine(store, mark)
  return await findGarbage(store, mark, options)
}

async function findLostObjects(
  store: Store,
  decision: Decision,
  { commits }: Mark,
  options: SurveyOptions,
): Promise<Garbage | undefined> {
  const { stay, go } = decision
  if (!isRemembered(store, memoOf(store, [...stay.keys(), ...go]))) return undefined
  const lost = await findLost(store, decision, options)
  if (lost === undefined) return undefined
  for (const id of stay.keys()) commits.add(id)
  const garbage = createDigestTable()
  const garbageBytes: number[] = []
  const digests = Array.from({ length: lost.size }, (_, number) => lost.digest(number))
  for (const [i, bytes] of sizes(paths.objects(store), digests.map(objectName)).entries())
    garbageBytes[garbage.addDigest(digests[i])] = bytes
  return { garbage, garbageBytes }
}

/** Roots and open images as they are now. */
export async function decide(store: Store, { sources, allowEmpty, signal }: SurveyOptions): Promise<Decision> {
  const roots = await readRoots(store, sources, signal)
  const commits = listCommits(store)
  if (commits.length > 0 && allowEmpty !== true && !hasLabels(store) && !wasEmptied(store))
    throw vanished(store, commits)
  return decideCommits(commits, roots, id => probeImage(paths.image(store, id)))
}

/** Whether the last label was removed and did not vanish: then it is in the trash. */
function wasEmptied(store: Store): boolean {
  return listTrash(store).some(({ path }) => exists(`${path}/log`) || exists(`${path}/tags`))
}

function vanished(store: Store, commits: readonly CommitId[]): StratumError {
  return new StratumError(
    'integrity',
    `the store ${toUser(store.path)} has ${commits.length} commits but no label, which looks as if refs/ was lost, so nothing may be deleted`,
    { hint: 'If the labels were meant to go: stratum gc --allow-empty' },
  )
}

const OBJECT = /^[0-9a-f]{62}$/

async function findGarbage(store: Store, { objects }: Mark, { signal, onObjects }: SurveyOptions): Promise<Garbage> {
  const garbage = createDigestTable()
  const garbageBytes: number[] = []
  let seen = 0
  for (const folder of OBJECT_FOLDERS) {
    const path = `${paths.objects(store)}/${folder}`
    const names = listNames(path).filter(name => OBJECT.test(name))
    const unused = names.filter(name => objects.findDigest(folder + name) < 0)
    for (const [i, bytes] of sizes(path, unused).entries()) garbageBytes[garbage.addDigest(folder + unused[i])] = bytes
    seen += names.length
    onObjects?.(seen)
    await nextTurn()
    signal?.throwIfAborted()
  }
  return { garbage, garbageBytes }
}

function sizes(folder: string, names: readonly string[]): number[] {
  if (names.length === 0) return []
  const directory = openDirectory(folder)
  try {
    return names.map(name => allocated(directory, name))
  } finally {
    close(directory)
  }
}

function allocated(directory: number, name: string): number {
  try {
    return statAt(directory, name).blocks * 512
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0
    throw error
  }
}

/** Bytes that a commit's own files take on the disk. */
export function commitBytes(store: Store, id: CommitId): number {
  const files = [paths.image(store, id), paths.metadata(store, id)]
  return files.reduce((sum, path) => sum + (statIfExists(path)?.blocks ?? 0) * 512, 0)
}
