import {
  listNames,
  makeDirectory,
  readTextIfExists,
  removeIfExists,
  replaceFile,
  syncDirectory,
} from '../../host/files.ts'
import { type Label, labelFolder, labelOfFolder } from '../../names/label.ts'
import { paths, type Store } from '../../store/layout.ts'

/**
 * That this store holds a label's HEAD, for when the API server is away: `state/holders/<label's folder>.json`. Written after the API server said so,
 * taken away before it is asked to forget it (`released`).
 */
export interface HolderRecord {
  readonly label: Label
  readonly state: 'held' | 'released'
  /** RFC 3339. */
  readonly since: string
}

const folder = (store: Store): string => `${paths.state(store)}/holders`
const fileOf = (store: Store, label: Label): string => `${folder(store)}/${labelFolder(label)}.json`

export function readHolder(store: Store, label: Label): HolderRecord | undefined {
  const text = readTextIfExists(fileOf(store, label))
  return text === undefined ? undefined : (JSON.parse(text) as HolderRecord)
}

export function isHeld(store: Store, label: Label): boolean {
  return readHolder(store, label)?.state === 'held'
}

export function writeHolder(store: Store, record: HolderRecord): void {
  if (makeDirectory(folder(store), 0o700)) syncDirectory(paths.state(store))
  replaceFile(fileOf(store, record.label), `${JSON.stringify(record)}\n`)
}

export function forgetHolder(store: Store, label: Label): void {
  if (removeIfExists(fileOf(store, label))) syncDirectory(folder(store))
}

export function listHolders(store: Store): HolderRecord[] {
  return listNames(folder(store)).flatMap(name => {
    const label = name.endsWith('.json') ? labelOfFolder(name.slice(0, -'.json'.length)) : undefined
    const record = label === undefined ? undefined : readHolder(store, label)
    return record === undefined ? [] : [record]
  })
}
