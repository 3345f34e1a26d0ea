import { createHash } from 'node:crypto'
import { StratumError } from '../errors/stratum-error.ts'
import {
  listNames,
  makeDirectory,
  readTextIfExists,
  removeIfExists,
  removeTemporaries,
  replaceFile,
  syncDirectory,
} from '../host/files.ts'
import { quote } from '../names/label.ts'
import { paths, type Store } from '../store/layout.ts'

/** What the records of volumes and snapshots have in common. */
interface AnyRecord {
  readonly id: string
  /** RFC 3339. */
  readonly created: string
}

/** Records of one kind in the store: a JSON file for each, durable before what it promises is done. */
export interface RecordKind<Record extends AnyRecord> {
  /** What ids begin with: `vol`, `snap`. */
  readonly prefix: string
  /** The folder below `state/`. */
  readonly folder: string
  /** For messages: `volume`. */
  readonly noun: string
  /** Makes a record of what a file holds. @throws anything, if it is none */
  readonly parse: (value: unknown) => Record
  /** What was read, by the store's path. One process at a time writes the records of a store (daemons/node.ts holds a lock). */
  readonly known: Map<string, Map<string, Record>>
}

const STORE_DIGITS = 8
const NAME_DIGITS = 24
const ID = /^([a-z]+)-([0-9a-f]{8})-[0-9a-f]{24}$/
const SUFFIX = '.json'
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600

/** The id of what a request of this name makes: the same for every repeat, another one in every store. */
export function idFor<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store, name: string): Record['id'] {
  const text = `${store.id}\0${kind.noun}\0${name}`
  const digits = createHash('sha256').update(text).digest('hex').slice(0, NAME_DIGITS)
  return `${kind.prefix}-${storeDigits(store)}-${digits}`
}

function storeDigits({ id }: Store): string {
  return id.replaceAll('-', '').slice(0, STORE_DIGITS).toLowerCase()
}

/** The id that somebody sent, if this store can have made it; else undefined. @throws wrong-node if another store made it */
export function parseId<Record extends AnyRecord>(
  kind: RecordKind<Record>,
  store: Store,
  text: string,
): Record['id'] | undefined {
  const [, prefix, digits] = ID.exec(text) ?? []
  if (prefix !== kind.prefix) return undefined
  if (digits === storeDigits(store)) return text
  throw new StratumError('wrong-node', `${kind.noun} ${quote(text)} is of another store`)
}

/** Undefined if there is none. @throws integrity if the file is damaged */
export function readRecord<Record extends AnyRecord>(
  kind: RecordKind<Record>,
  store: Store,
  id: Record['id'],
): Record | undefined {
  const text = readTextIfExists(fileOf(kind, store, id))
  if (text === undefined) return undefined
  try {
    const record = kind.parse(JSON.parse(text))
    if (record.id !== id) throw new Error(`it is that of ${quote(record.id)}`)
    return record
  } catch (cause) {
    const [line] = (cause as Error).message.split('\n')
    throw new StratumError('integrity', `the record of ${kind.noun} ${id} is damaged: ${line}`, { cause })
  }
}

/** Durable when it returns; with `bytes`, after `syncRecords`. */
export function writeRecord<Record extends AnyRecord>(
  kind: RecordKind<Record>,
  store: Store,
  record: Record,
  durable: true | 'bytes' = true,
): void {
  const folder = folderOf(kind, store)
  const content = `${JSON.stringify(record, undefined, 2)}\n`
  if (makeDirectory(folder, FOLDER_MODE)) syncDirectory(paths.state(store))
  replaceFile(fileOf(kind, store, record.id), content, { mode: FILE_MODE, durable })
  knownOf(kind, store).set(record.id, record)
}

/** Makes the names of all records durable. */
export function syncRecords<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store): void {
  syncDirectory(folderOf(kind, store))
}

/** Durable when it returns. */
export function removeRecord<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store, id: Record['id']): void {
  if (removeIfExists(fileOf(kind, store, id))) syncDirectory(folderOf(kind, store))
  knownOf(kind, store).delete(id)
}

/** All records, oldest first. Only those are read that this process neither read nor wrote before. @throws integrity */
export function allRecords<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store): Record[] {
  const known = knownOf(kind, store)
  const ids = new Set(idsIn(kind, store))
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id)
  for (const id of ids) {
    const record = known.get(id) ?? readRecord(kind, store, id)
    if (record !== undefined) known.set(id, record)
  }
  return [...known.values()].sort(byAge)
}

/** Removes what writes that were cut off left. Only who is alone with the records may do this. */
export function tidyRecords<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store): void {
  removeTemporaries(folderOf(kind, store))
}

/** Oldest first; of one moment, by id. */
export function byAge(a: AnyRecord, b: AnyRecord): number {
  const [left, right] = [ageKey(a), ageKey(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

/** Text by which records sort as by age. */
export function ageKey({ created, id }: AnyRecord): string {
  return `${created} ${id}`
}

function idsIn<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store): string[] {
  return listNames(folderOf(kind, store))
    .filter(name => name.endsWith(SUFFIX))
    .map(name => name.slice(0, -SUFFIX.length))
    .filter(id => ID.exec(id)?.[1] === kind.prefix)
}

function knownOf<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store): Map<string, Record> {
  const known = kind.known.get(store.path) ?? new Map<string, Record>()
  kind.known.set(store.path, known)
  return known
}

function folderOf<Record extends AnyRecord>({ folder }: RecordKind<Record>, store: Store): string {
  return `${paths.state(store)}/${folder}`
}

function fileOf<Record extends AnyRecord>(kind: RecordKind<Record>, store: Store, id: string): string {
  if (ID.exec(id)?.[1] !== kind.prefix) throw new Error(`${quote(id)} is no id of a ${kind.noun}`)
  return `${folderOf(kind, store)}/${id}${SUFFIX}`
}
