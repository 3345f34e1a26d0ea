import fs from 'node:fs'
import { makeDirectories, readTextIfExists } from '../host/files.ts'
import { isAlive } from '../host/lock-holders.ts'
import { waitForLock } from '../host/locks.ts'
import { type MountInfo, readMounts, readMountsOfAllNamespaces } from '../host/mountinfo.ts'
import { randomHex } from '../host/random.ts'
import type { Label } from '../names/label.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Tag } from '../names/tag.ts'
import type { Store } from '../store/layout.ts'
import { labelOfSource, type MountSource, parseMountSource, placeOf } from './source.ts'

/** A mount of a label, as the kernel shows it to this process. */
export interface Mounted {
  readonly mountpoint: string
  /** It shows the whole tree; else one directory of it that somebody bound here. */
  readonly isWhole: boolean
  readonly label: Label
  readonly commit: CommitId
  /** Of a HEAD; undefined for a read-only mount. */
  readonly generation: number | undefined
  readonly tag: Tag | undefined
  readonly readOnly: boolean
  /** The mount itself is read-only, whatever its superblock is. */
  readonly mountReadOnly: boolean
  readonly noSuid: boolean
  /** Of the mount, as mountinfo shows them: nosuid, nodev, noexec, noatime, … */
  readonly options: readonly string[]
  /** The kernel's number of the superblock: several mounts can show one. */
  readonly device: string
  readonly source: MountSource
}

/** With what the state file knows of it. */
export interface RecordedMount extends Mounted {
  /** RFC 3339. */
  readonly since: string | undefined
  readonly pid: number | undefined
}

/** One line of /run/stratum/state. It only adds what mountinfo does not tell; mountinfo decides what is mounted. */
export interface MountRecord {
  readonly key: string
  readonly source: string
  readonly mountpoint: string
  readonly time: string
  readonly pid: number
  readonly removed?: true
}

const FOLDER = '/run/stratum'
const FOLDER_VARIABLE = 'STRATUM_RUN'
const LOCK_LIMIT_MS = 5_000
/** A mount follows its record within so long. */
const MAKING_MS = 10_000
/** With more lines than this per record that still counts, the file is written anew. */
const COMPACT_FACTOR = 4
/** Looked at once in so many lines: that reads all mounts. */
const COMPACT_LINES = 64

export function runFolder(): string {
  return process.env[FOLDER_VARIABLE] ?? FOLDER
}

function stateFile(): string {
  return `${runFolder()}/state`
}

/** Notes a mount before it is made. Returns what takes the note back. No fsync: the file dies with the boot anyway. */
export async function recordMount(source: string, mountpoint: string): Promise<() => Promise<void>> {
  const record: MountRecord = {
    key: randomHex(6),
    source,
    mountpoint,
    time: new Date().toISOString(),
    pid: process.pid,
  }
  await append(record)
  return () => append({ ...record, removed: true })
}

/** Strikes the notes of a mountpoint. */
export async function forgetMount(mountpoint: string): Promise<void> {
  for (const record of readRecords()) if (record.mountpoint === mountpoint) await append({ ...record, removed: true })
}

async function append(record: MountRecord): Promise<void> {
  makeDirectories(runFolder(), 0o755)
  const file = fs.openSync(stateFile(), 'a', 0o600)
  try {
    if (await waitForLock(file, 'exclusive', LOCK_LIMIT_MS)) {
      fs.writeSync(file, `${JSON.stringify(record)}\n`)
      compact()
    }
  } finally {
    fs.closeSync(file)
  }
}

/** Records of this boot that were not removed. What cannot be read is passed over: mountinfo knows what is mounted. */
function readRecords(): MountRecord[] {
  const records = new Map<string, MountRecord>()
  for (const line of readTextIfExists(stateFile())?.split('\n') ?? []) {
    const record = parseRecord(line)
    if (record?.removed) records.delete(record.key)
    else if (record !== undefined) records.set(record.key, record)
  }
  return [...records.values()]
}

function parseRecord(line: string): MountRecord | undefined {
  try {
    const record = JSON.parse(line) as MountRecord
    return typeof record.key === 'string' && typeof record.mountpoint === 'string' ? record : undefined
  } catch {
    return undefined
  }
}

export interface RecordsState {
  readonly records: readonly MountRecord[]
  /** Those of mounts that no mount namespace shows. */
  readonly stale: readonly MountRecord[]
  /** Lines that are no records. */
  readonly damagedLines: number
}

/**
 * The records with what is wrong with them, for who must know that nothing was passed over. What looks damaged is read again while nobody
 * writes: a line that is being written can be seen in part.
 */
export async function inspectRecords(): Promise<RecordsState> {
  const state = inspect()
  if (state.damagedLines === 0) return state
  const file = fs.openSync(stateFile(), 'r')
  try {
    await waitForLock(file, 'shared', LOCK_LIMIT_MS)
    return inspect()
  } finally {
    fs.closeSync(file)
  }
}

/** Mounts are made after their records and go before them: stale is only what is recorded before and after the mounts were read. */
function inspect(): RecordsState {
  const before = new Set(readRecords().map(({ key }) => key))
  const mounted = new Set(readMounts().map(({ mountpoint }) => mountpoint))
  for (const { mounts } of readMountsOfAllNamespaces()) for (const { mountpoint } of mounts) mounted.add(mountpoint)
  const lines = (readTextIfExists(stateFile()) ?? '').split('\n').filter(line => line !== '')
  const records = readRecords()
  return {
    records,
    stale: records.filter(record => before.has(record.key) && !mounted.has(record.mountpoint) && !isBeingMade(record)),
    damagedLines: lines.filter(line => parseRecord(line) === undefined).length,
  }
}

/** Its maker lives and wrote it just now: the mount may still come. */
function isBeingMade({ pid, time }: MountRecord): boolean {
  return Date.now() - Date.parse(time) < MAKING_MS && isAlive(pid)
}

/** Writes the state file anew without what is stale or damaged. */
export async function tidyRecords(): Promise<void> {
  const file = fs.openSync(stateFile(), 'a', 0o600)
  try {
    if (!(await waitForLock(file, 'exclusive', LOCK_LIMIT_MS))) return
    const { records, stale } = inspect()
    writeRecords(records.filter(record => !stale.includes(record)))
  } finally {
    fs.closeSync(file)
  }
}

function writeRecords(records: readonly MountRecord[]): void {
  fs.writeFileSync(stateFile(), records.map(record => `${JSON.stringify(record)}\n`).join(''))
}

function compact(): void {
  const lines = (readTextIfExists(stateFile())?.split('\n').length ?? 1) - 1
  if (lines % COMPACT_LINES !== 0) return
  const mounted = new Set(readMounts().map(({ mountpoint }) => mountpoint))
  const live = readRecords().filter(record => mounted.has(record.mountpoint) || isBeingMade(record))
  if (lines >= live.length * COMPACT_FACTOR) writeRecords(live)
}

/** The mounts of a store, in the order in which they were made. */
export function listMounted(store: Store): RecordedMount[] {
  const records = new Map(readRecords().map(record => [`${record.source} ${record.mountpoint}`, record]))
  const isHere = isSourceIn(store)
  return readMounts().flatMap(info => {
    const source = sourceOfMount(info)
    if (source === undefined || !isHere(source)) return []
    const record = records.get(`${info.source} ${info.mountpoint}`)
    const mounted = describeMount(info, source, labelOfSource(store, source))
    return [{ ...mounted, since: record?.time, pid: record?.pid }]
  })
}

const sources = new WeakMap<MountInfo, { readonly source: MountSource | undefined }>()

/** What a mount says of itself, if it is one of Stratum; taken apart once for each line that was read. */
export function sourceOfMount(info: MountInfo): MountSource | undefined {
  let known = sources.get(info)
  if (known === undefined) {
    known = { source: info.type === 'overlay' ? parseMountSource(info.source) : undefined }
    sources.set(info, known)
  }
  return known.source
}

/** Tells the sources of a store from those of others, and of copies of it. */
export function isSourceIn(store: Store): (source: MountSource) => boolean {
  const here = placeOf(store)
  return source => source.store === store.id && (source.place ?? here) === here
}

export function describeMount(
  { root, mountpoint, device, options, superOptions }: MountInfo,
  source: MountSource,
  label: Label,
): Mounted {
  const { commit, generation, tag } = source
  const mountReadOnly = options.includes('ro')
  return {
    mountpoint,
    isWhole: root === '/',
    label,
    commit,
    generation,
    tag,
    readOnly: mountReadOnly || superOptions.includes('ro'),
    mountReadOnly,
    noSuid: options.includes('nosuid'),
    options,
    device,
    source,
  }
}
