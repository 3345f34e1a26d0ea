import { parse, stringify } from 'smol-toml'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import {
  listNames,
  makeDirectories,
  makeDirectory,
  overwriteFile,
  readTextIfExists,
  replaceFile,
  syncDirectory,
  syncFileSystem,
  TEMPORARY_PREFIX,
} from '../host/files.ts'
import { randomUuid } from '../host/random.ts'
import { toUser } from '../names/text.ts'
import { OBJECT_FOLDERS, paths, type Store } from './layout.ts'

/** The version of the layout. Stores of a later one are not opened; `docs/format.md` 1.2 says what the feature lists mean. */
const FORMAT = 1
const FEATURES_KNOWN: ReadonlySet<string> = new Set()
const FOLDERS = ['objects', 'commits', 'refs', 'state', 'staging', 'trash'] as const

interface Settings {
  format: number
  id: string
  readOnlyCompatible: string[]
  incompatible: string[]
}

interface OpenOptions {
  /** Make the store if there is none. */
  create?: boolean
}

/** Opens the store at a path. @throws no-store, unsupported (a newer format), integrity (its settings are damaged) */
export function openStore(root: string, { create = false }: OpenOptions = {}): Store {
  const path = root.replace(/\/+$/, '') || '/'
  const found = findStore(path)
  if (found !== undefined) return found
  const names = listNames(path).filter(name => name !== 'lost+found')
  if (names.length > 0 && !isUnfinished(names)) {
    const made = findStore(path) // somebody else may have been making it
    if (made !== undefined) return made
    throw new StratumError('no-store', `${toUser(path)} is no store: it has no stratum.toml and is not empty`)
  }
  if (!create) {
    throw new StratumError('no-store', `there is no store at ${toUser(path)}`, {
      hint: 'stratum import or stratum init makes one there; another place is named with --store or STRATUM_STORE',
    })
  }
  return createStore(path)
}

function findStore(path: string): Store | undefined {
  const text = readSettings(path)
  return text === undefined ? undefined : storeOf(path, parseSettings(path, text))
}

function readSettings(path: string): string | undefined {
  try {
    return readTextIfExists(paths.settings(path))
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) throw new StratumError('no-store', `${toUser(path)} is not a directory`)
    throw toStratumError(error, `opening the store ${toUser(path)}`)
  }
}

/** What a creation that was cut off leaves behind: `stratum.toml` is written last. */
function isUnfinished(names: string[]): boolean {
  return names.every(
    name =>
      (FOLDERS as readonly string[]).includes(name) ||
      name === 'gate' ||
      name === 'lock' ||
      name.startsWith(TEMPORARY_PREFIX),
  )
}

/** Several may do this at once: nobody takes the place of what another made, and the store is that of whose settings are there first. */
function createStore(path: string): Store {
  try {
    makeDirectories(path, 0o700)
    for (const folder of FOLDERS) makeDirectory(`${path}/${folder}`)
    for (const folder of OBJECT_FOLDERS) makeDirectory(`${path}/objects/${folder}`)
    for (const file of ['gate', 'lock']) overwriteFile(`${path}/${file}`, '')
    syncFileSystem(path)
    const settings = { format: FORMAT, id: randomUuid(), compatible: [], read_only_compatible: [], incompatible: [] }
    replaceFile(paths.settings(path), `${stringify({ stratum: settings })}\n`, { isNew: true })
    syncDirectory(path)
    return { path, id: settings.id, readOnly: false }
  } catch (error) {
    const made = isErrno(error, 'EEXIST') ? findStore(path) : undefined
    if (made !== undefined) return made
    throw toStratumError(error, `making a store at ${toUser(path)}`)
  }
}

function parseSettings(path: string, text: string): Settings {
  try {
    const { stratum } = parse(text) as { stratum?: Record<string, unknown> }
    const { format, id, read_only_compatible = [], incompatible = [] } = stratum ?? {}
    if (
      typeof format !== 'number' ||
      typeof id !== 'string' ||
      !Array.isArray(incompatible) ||
      !Array.isArray(read_only_compatible)
    ) {
      throw new Error('format or id is missing')
    }
    return { format, id, readOnlyCompatible: read_only_compatible, incompatible }
  } catch (cause) {
    throw new StratumError(
      'integrity',
      `${toUser(paths.settings(path))} is damaged: ${(cause as Error).message.split('\n')[0]}`,
      { cause },
    )
  }
}

function storeOf(path: string, settings: Settings): Store {
  const unknown = settings.incompatible.filter(feature => !FEATURES_KNOWN.has(feature))
  if (settings.format > FORMAT || unknown.length > 0) {
    const what = unknown.length > 0 ? `uses ${unknown.join(', ')}` : `has format ${settings.format}`
    throw new StratumError(
      'unsupported',
      `the store ${toUser(path)} ${what}, which this version of stratum does not know`,
      {
        hint: 'Use the version of stratum that wrote it, or a later one',
      },
    )
  }
  return {
    path,
    id: settings.id,
    readOnly: settings.readOnlyCompatible.some(feature => !FEATURES_KNOWN.has(feature)),
  }
}

/** @throws unsupported where the store may only be read */
export function requireWritable(store: Store): void {
  if (!store.readOnly) return
  throw new StratumError(
    'unsupported',
    `the store ${toUser(store.path)} uses features that this version of stratum can read but not write`,
  )
}
