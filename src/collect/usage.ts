import { setImmediate as nextTurn } from 'node:timers/promises'
import { listCommits } from '../commits/commit-store.ts'
import { openCommitImage } from '../commits/open-image.ts'
import type { Arena, Image } from '../erofs/arena.ts'
import { eachDigest } from '../erofs/digests.ts'
import { createDigestTable, type DigestTable } from '../hashes/digest-table.ts'
import type { Digest } from '../hashes/verity.ts'
import { close, openDirectory, readDirectory } from '../host/descriptors.ts'
import { exists } from '../host/files.ts'
import { statAt } from '../host/stat.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Label } from '../names/label.ts'
import { OBJECT_FOLDERS, paths, type Store } from '../store/layout.ts'
import type { Root } from './root.ts'
import { readRoots } from './roots.ts'
import { commitBytes, type SurveyOptions } from './survey.ts'

/** What commits take on the disk, alone and together. Bytes are those of blocks that are allocated. */
export interface Usage {
  /** Objects of the whole store, and those among them that no kept commit names. */
  readonly objects: Amount
  readonly unused: Amount
  readonly labels: readonly LabelUsage[]
  /** What keeps each commit that is kept. */
  readonly roots: ReadonlyMap<CommitId, readonly Root[]>
  /** Looks at one commit. */
  ofCommit(id: CommitId): CommitUsage
}

export interface Amount {
  count: number
  bytes: number
}

export interface LabelUsage {
  readonly label: Label
  readonly commits: readonly CommitId[]
  /** Objects and images of its commits, each once; and those that no other label has. */
  readonly bytes: number
  readonly exclusive: number
}

export interface CommitUsage {
  readonly bytes: number
  /** What no other kept commit has. */
  readonly exclusive: number
}

/** Columns with a place for each object. */
interface Ledger {
  readonly table: DigestTable
  readonly bytes: Float64Array
  /** How many kept commits, and how many labels, name it. */
  readonly commits: Uint32Array
  readonly labels: Uint32Array
  /** The last group of each kind that did: within one, an object counts once. */
  readonly lastCommit: Uint32Array
  readonly lastLabel: Uint32Array
}

/** Counts what is stored. The caller holds the store's shared lock. @throws integrity */
export async function measureUsage(store: Store, options: SurveyOptions = {}): Promise<Usage> {
  const roots = await keptRoots(store, options)
  const ledger = await openLedger(store, options)
  const images = imageReader(store)
  const groups = groupByLabel(roots)
  const unions: number[] = []
  const counted = new Set<CommitId>()
  for (const [group, { commits }] of groups.entries()) {
    unions[group] = 0
    for (const id of commits) {
      const isFirst = !counted.has(id)
      counted.add(id)
      unions[group] += countCommit(ledger, images(id), group + 1, isFirst ? counted.size : undefined)
      await nextTurn()
      options.signal?.throwIfAborted()
    }
  }
  return {
    ...totals(ledger),
    labels: labelUsages(store, groups, ledger, unions),
    roots,
    ofCommit: id => commitUsage(store, id, images(id), ledger),
  }
}

/** Counts the objects of a commit for its label, and for itself unless another label did that. Returns the bytes that are new to the label. */
function countCommit(ledger: Ledger, image: Image, label: number, commit: number | undefined): number {
  const { table, bytes, commits, labels, lastCommit, lastLabel } = ledger
  let added = 0
  eachDigest(image, (words, word) => {
    const number = table.find(words, word)
    if (number < 0) return
    if (commit !== undefined && lastCommit[number] !== commit) {
      lastCommit[number] = commit
      commits[number]++
    }
    if (lastLabel[number] === label) return
    lastLabel[number] = label
    labels[number]++
    added += bytes[number]
  })
  return added
}

async function keptRoots(store: Store, { sources, signal }: SurveyOptions): Promise<Map<CommitId, Root[]>> {
  const present = new Set(listCommits(store))
  const roots = (await readRoots(store, sources, signal)).filter(({ commit }) => present.has(commit))
  return Map.groupBy(roots, ({ commit }) => commit)
}

/** One memory for all images, one after the other. */
function imageReader(store: Store): (id: CommitId) => Image {
  let memory: Arena | undefined
  return id => {
    const image = openCommitImage(store, id, 0, memory)
    memory = image.arena
    return image
  }
}

async function openLedger(store: Store, { onObjects, signal }: SurveyOptions): Promise<Ledger> {
  const table = createDigestTable()
  const bytes: number[] = []
  for (const folder of OBJECT_FOLDERS) {
    eachObject(store, folder, (digest, allocated) => {
      bytes[table.addDigest(digest)] = allocated
    })
    onObjects?.(table.size)
    await nextTurn()
    signal?.throwIfAborted()
  }
  const column = (): Uint32Array => new Uint32Array(table.size)
  return {
    table,
    bytes: Float64Array.from(bytes),
    commits: column(),
    labels: column(),
    lastCommit: column(),
    lastLabel: column(),
  }
}

const OBJECT = /^[0-9a-f]{62}$/

function eachObject(store: Store, folder: string, each: (digest: Digest, allocated: number) => void): void {
  const path = `${paths.objects(store)}/${folder}`
  if (!exists(path)) return
  const directory = openDirectory(path)
  try {
    for (const { name } of readDirectory(directory))
      if (OBJECT.test(name)) each(folder + name, statAt(directory, name).blocks * 512)
  } finally {
    close(directory)
  }
}

interface Group {
  /** Undefined for commits that no label has: mounted ones, pinned ones. */
  readonly label: Label | undefined
  readonly commits: readonly CommitId[]
}

function groupByLabel(roots: ReadonlyMap<CommitId, readonly Root[]>): Group[] {
  const groups = new Map<Label | undefined, Set<CommitId>>()
  for (const [id, list] of roots) {
    const labels = new Set(list.filter(({ kind }) => kind !== 'mount').map(({ label }) => label))
    for (const label of labels.size === 0 ? [undefined] : labels)
      groups.set(label, (groups.get(label) ?? new Set()).add(id))
  }
  return [...groups].map(([label, commits]) => ({ label, commits: [...commits] }))
}

function totals({ table, bytes, commits }: Ledger): Pick<Usage, 'objects' | 'unused'> {
  const objects: Amount = { count: table.size, bytes: 0 }
  const unused: Amount = { count: 0, bytes: 0 }
  for (let number = 0; number < table.size; number++) {
    objects.bytes += bytes[number]
    if (commits[number] > 0) continue
    unused.count++
    unused.bytes += bytes[number]
  }
  return { objects, unused }
}

function labelUsages(
  store: Store,
  groups: readonly Group[],
  { table, bytes, labels, lastLabel }: Ledger,
  unions: readonly number[],
): LabelUsage[] {
  const exclusive = groups.map(() => 0)
  for (let number = 0; number < table.size; number++)
    if (labels[number] === 1) exclusive[lastLabel[number] - 1] += bytes[number]
  const timesNamed = new Map<CommitId, number>()
  for (const { commits } of groups) for (const id of commits) timesNamed.set(id, (timesNamed.get(id) ?? 0) + 1)
  return groups.flatMap(({ label, commits }, group) => {
    if (label === undefined) return []
    const own = commits.filter(id => timesNamed.get(id) === 1)
    const sum = (ids: readonly CommitId[]): number => ids.reduce((total, id) => total + commitBytes(store, id), 0)
    return [{ label, commits, bytes: unions[group] + sum(commits), exclusive: exclusive[group] + sum(own) }]
  })
}

function commitUsage(store: Store, id: CommitId, image: Image, ledger: Ledger): CommitUsage {
  const seen = new Set<number>()
  const files = commitBytes(store, id)
  const usage = { bytes: files, exclusive: files }
  eachDigest(image, (words, word) => {
    const number = ledger.table.find(words, word)
    if (number < 0 || seen.has(number)) return
    seen.add(number)
    usage.bytes += ledger.bytes[number]
    if (ledger.commits[number] === 1) usage.exclusive += ledger.bytes[number]
  })
  return usage
}
