import { setTimeout as sleep } from 'node:timers/promises'
import { affectedFiles, checkCommits } from '../check/check-commits.ts'
import type { ExpectedObject } from '../check/check-content.ts'
import { checkContents } from '../check/check-contents.ts'
import { checkExpected, objectFindings } from '../check/check-objects.ts'
import { createExpectedObjects } from '../check/expected-objects.ts'
import type { Finding } from '../check/findings.ts'
import { listCommits } from '../commits/commit-store.ts'
import { listNames, readTextIfExists, replaceFile } from '../host/files.ts'
import { statIfExists } from '../host/stat.ts'
import { OBJECT_FOLDERS, paths, type Store } from '../store/layout.ts'
import { lockStore } from '../store/locks.ts'
import { type Context, lockOptions } from './context.ts'
import { namesOfCommits } from './verify.ts'

/** What a step of the scrub looked at. */
export interface Scrubbed {
  /** 0 to 255: the commits and objects whose id begins with this byte. */
  readonly part: number
  readonly objects: number
  /** Bytes of the objects. */
  readonly bytes: number
  readonly findings: readonly Finding[]
}

/** So many steps see the whole store once. */
export const SCRUB_PARTS = OBJECT_FOLDERS.length

const BATCH_OBJECTS = 64
const BATCH_BYTES = 16 << 20
/** Between two batches: others are to have the disk. */
const PAUSE_MS = 500
const OBJECT = /^[0-9a-f]{62}$/

/**
 * Checks the next part of the store, behind the one that was checked last: its objects' content, its commits' images and whether their
 * objects are there. Slowly, in a thread of its own; the store is locked only for a batch at a time. Changes nothing.
 */
export async function scrubNext(context: Context): Promise<Scrubbed> {
  const { store } = context
  const part = (lastPart(store) + 1) % SCRUB_PARTS
  const contents = await scrubObjects(context, OBJECT_FOLDERS[part])
  const findings = [...contents.findings, ...(await scrubCommits(context, OBJECT_FOLDERS[part]))]
  replaceFile(positionFile(store), `${part}\n`, { durable: false })
  return { part, objects: contents.objects, bytes: contents.bytes, findings }
}

async function scrubObjects(context: Context, folder: string): Promise<Omit<Scrubbed, 'part'>> {
  const { store, signal } = context
  const total = { objects: 0, bytes: 0 }
  const findings: Finding[] = []
  for (const batch of batches(store, folder)) {
    {
      using _store = await lockStore(store, 'shared', lockOptions(context))
      const there = batch.filter(({ digest }) => statIfExists(paths.object(store, digest)) !== undefined)
      const problems = await checkContents(store, there, { signal, threads: 1 })
      const affected = affectedFiles(store, listCommits(store), problems.keys(), namesOfCommits(store))
      findings.push(...objectFindings(store, problems, affected))
    }
    total.objects += batch.length
    total.bytes += batch.reduce((sum, { size }) => sum + size, 0)
    await sleep(PAUSE_MS, undefined, signal === undefined ? {} : { signal })
  }
  return { ...total, findings }
}

/** Objects of a folder, few at a time. Of a collected one nothing is left when its turn comes. */
function* batches(store: Store, folder: string): Generator<ExpectedObject[]> {
  let batch: ExpectedObject[] = []
  let bytes = 0
  for (const name of listNames(`${paths.objects(store)}/${folder}`)) {
    const digest = folder + name
    const size = OBJECT.test(name) ? statIfExists(paths.object(store, digest))?.size : undefined
    if (size === undefined) continue
    batch.push({ digest, size })
    bytes += size
    if (batch.length < BATCH_OBJECTS && bytes < BATCH_BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

async function scrubCommits(context: Context, prefix: string): Promise<Finding[]> {
  const { store, signal } = context
  const findings: Finding[] = []
  for (const id of listCommits(store).filter(each => each.startsWith(prefix))) {
    using _store = await lockStore(store, 'shared', lockOptions(context))
    if (statIfExists(paths.commit(store, id)) === undefined) continue
    const expected = createExpectedObjects()
    findings.push(...(await checkCommits(store, [id], expected, { signal })))
    const problems = await checkExpected(store, expected, { quick: true, signal })
    findings.push(
      ...objectFindings(store, problems, affectedFiles(store, [id], problems.keys(), namesOfCommits(store))),
    )
  }
  return findings
}

/** The position is worth no fsync. */
function lastPart(store: Store): number {
  const part = Number(readTextIfExists(positionFile(store)) ?? -1)
  return Number.isInteger(part) && part >= -1 && part < SCRUB_PARTS ? part : -1
}

function positionFile(store: Store): string {
  return `${paths.state(store)}/scrub`
}
