import { setImmediate as nextTurn } from 'node:timers/promises'
import { isErrno } from '../errors/errno.ts'
import type { Digest } from '../hashes/verity.ts'
import { close, openDirectory, readDirectory } from '../host/descriptors.ts'
import { isRegularMode, statAt, statIfExists } from '../host/stat.ts'
import { toUser } from '../names/text.ts'
import { OBJECT_FOLDERS, paths, type Store } from '../store/layout.ts'
import { findTrashedObject } from '../store/trash.ts'
import { WRITABLE } from './check-commit.ts'
import { checkFile, type ContentProblem, type ExpectedObject } from './check-content.ts'
import { checkContents, type ContentsOptions } from './check-contents.ts'
import type { ExpectedObjects } from './expected-objects.ts'
import type { Finding } from './findings.ts'

export interface ObjectsOptions extends ContentsOptions {
  /** Look at sizes only and read nothing. */
  readonly quick: boolean
}

const TURN_OBJECTS = 4096

/** What is wrong with the objects that commits name. */
export async function checkExpected(
  store: Store,
  expected: ExpectedObjects,
  options: ObjectsOptions,
): Promise<Map<Digest, ContentProblem>> {
  if (!options.quick) return checkContents(store, expected.all(), options)
  const problems = new Map<Digest, ContentProblem>()
  let objects = 0
  for (const object of expected.all()) {
    const problem = checkSize(store, object)
    if (problem !== undefined) problems.set(object.digest, problem)
    if (++objects % TURN_OBJECTS !== 0) continue
    options.onProgress?.(objects, 0)
    await nextTurn()
    options.signal?.throwIfAborted()
  }
  return problems
}

function checkSize(store: Store, { digest, size }: ExpectedObject): ContentProblem | undefined {
  const stat = statIfExists(paths.object(store, digest))
  if (stat === undefined) return { kind: 'missing' }
  if (!isRegularMode(stat.mode)) return { kind: 'damaged', message: 'it is no regular file' }
  return stat.size === size ? undefined : { kind: 'damaged', message: `it has ${stat.size} bytes instead of ${size}` }
}

const OBJECT = /^[0-9a-f]{62}$/

/** What lies in the folders of objects: names that are none, permissions, and objects that no commit names, which `onUnused` gets. */
export async function checkObjectFolders(
  store: Store,
  expected: ExpectedObjects,
  onUnused: (digest: Digest) => void,
): Promise<Finding[]> {
  const findings = foreignFolders(store)
  for (const folder of OBJECT_FOLDERS) {
    const names = namesIn(`${paths.objects(store)}/${folder}`)
    if (names === undefined) findings.push(missingFolder(`${paths.objects(store)}/${folder}`))
    else findings.push(...checkNames(store, folder, names))
    for (const name of names ?? [])
      if (OBJECT.test(name) && expected.table.findDigest(folder + name) < 0) onUnused(folder + name)
    await nextTurn()
  }
  return findings
}

function foreignFolders(store: Store): Finding[] {
  return (namesIn(paths.objects(store)) ?? [])
    .filter(name => !OBJECT_FOLDERS.includes(name))
    .map(name => foreign(`${paths.objects(store)}/${name}`))
}

export function missingFolder(path: string): Finding {
  const repair = { do: 'make-folder', path } as const
  return { severity: 'damage', kind: 'folder-missing', what: toUser(path), message: 'it is gone', repair }
}

function namesIn(path: string): string[] | undefined {
  let directory: number
  try {
    directory = openDirectory(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
  try {
    return readDirectory(directory).map(({ name }) => name)
  } finally {
    close(directory)
  }
}

function checkNames(store: Store, folder: string, names: readonly string[]): Finding[] {
  const directory = openDirectory(`${paths.objects(store)}/${folder}`)
  try {
    return names.flatMap(name => {
      const path = `${paths.objects(store)}/${folder}/${name}`
      if (!OBJECT.test(name)) return [foreign(path)]
      return isWritable(directory, name) ? [writable(`object ${folder}${name}`, path)] : []
    })
  } finally {
    close(directory)
  }
}

function isWritable(directory: number, name: string): boolean {
  try {
    const { mode } = statAt(directory, name)
    return isRegularMode(mode) && (mode & WRITABLE) !== 0
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

function writable(what: string, path: string): Finding {
  const repair = { do: 'permissions', path, mode: 0o444 } as const
  return { severity: 'damage', kind: 'permissions', what, message: 'it may be written to', repair }
}

function foreign(path: string): Finding {
  const repair = { do: 'quarantine', path } as const
  return { severity: 'note', kind: 'foreign', what: toUser(path), message: 'it is no object', repair }
}

/** The findings of problems with objects, with an intact copy from the trash if there is one. */
export function objectFindings(
  store: Store,
  problems: ReadonlyMap<Digest, ContentProblem>,
  affected: ReadonlyMap<Digest, readonly string[]>,
): Finding[] {
  return [...problems].map(([digest, problem]) => objectFinding(store, digest, problem, affected.get(digest) ?? []))
}

function objectFinding(store: Store, digest: Digest, problem: ContentProblem, affected: readonly string[]): Finding {
  const isMissing = problem.kind === 'missing'
  const finding: Finding = {
    severity: 'damage',
    kind: isMissing ? 'object-missing' : 'object-damaged',
    what: `object ${digest}`,
    message: problem.kind === 'missing' ? 'it is not in the store' : problem.message,
    affected,
  }
  const from = findTrashedObject(store, digest).find(path => checkFile(path, digest) === undefined)
  if (from !== undefined) return { ...finding, repair: { do: 'restore-object', digest, from } }
  return isMissing ? finding : { ...finding, repair: { do: 'quarantine-object', digest } }
}
