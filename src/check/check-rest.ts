import { exists, listNames } from '../host/files.ts'
import { isOtherThanDirectoryAt, statIfExists } from '../host/stat.ts'
import { inspectRecords } from '../mounts/records.ts'
import { isCommitId } from '../names/commit-id.ts'
import { toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { countStaleStaging } from '../store/staging.ts'
import { missingFolder } from './check-objects.ts'
import type { Finding, Repair } from './findings.ts'

/** What does not belong to one commit, object or label: folders, foreign names, staging, records of mounts. */
export async function checkRest(store: Store): Promise<Finding[]> {
  return [
    ...checkFolders(store),
    ...checkNames(store),
    ...checkPermissions(store),
    ...checkStaging(store),
    ...(await checkRecords()),
  ]
}

function checkFolders(store: Store): Finding[] {
  const { objects, commits, state, staging, trash, refs } = paths
  const findings = [objects, commits, state, staging, trash]
    .map(pathOf => pathOf(store))
    .filter(path => !exists(path))
    .map(missingFolder)
  if (exists(refs(store))) return findings
  const message = 'it is gone with all tags and HEADs: bring it back from a backup (without it nothing is collected)'
  return [...findings, { severity: 'damage', kind: 'folder-missing', what: toUser(refs(store)), message }]
}

const KNOWN = [
  'stratum.toml',
  'gate',
  'lock',
  'objects',
  'commits',
  'refs',
  'state',
  'staging',
  'trash',
  'quarantine',
  'lost+found',
]

function checkNames(store: Store): Finding[] {
  const isNoLabel = (name: string): boolean => isOtherThanDirectoryAt(`${paths.refs(store)}/${name}`)
  return [
    ...listNames(store.path)
      .filter(name => !KNOWN.includes(name))
      .map(name => foreign(`${store.path}/${name}`, 'it is nothing of the store')),
    ...listNames(paths.commits(store))
      .filter(name => !isCommitId(name))
      .map(name => aside(`${paths.commits(store)}/${name}`, 'it is no commit')),
    ...listNames(paths.refs(store))
      .filter(isNoLabel)
      .map(name => aside(`${paths.refs(store)}/${name}`, 'it is no label')),
  ]
}

function foreign(path: string, message: string): Finding {
  return { severity: 'note', kind: 'foreign', what: toUser(path), message }
}

function aside(path: string, message: string): Finding {
  return { ...foreign(path, message), repair: { do: 'quarantine', path } }
}

function checkPermissions(store: Store): Finding[] {
  if (((statIfExists(store.path)?.mode ?? 0) & 0o077) === 0) return []
  const message = 'others than its owner may enter it, and read what private directories held'
  const repair: Repair = { do: 'permissions', path: store.path, mode: 0o700 }
  return [{ severity: 'note', kind: 'permissions', what: toUser(store.path), message, repair }]
}

function checkStaging(store: Store): Finding[] {
  const stale = countStaleStaging(store)
  if (stale === 0) return []
  const message = `${stale} of the writes in it ${stale === 1 ? 'was' : 'were'} cut off`
  const what = toUser(paths.staging(store))
  return [{ severity: 'leftover', kind: 'leftover', what, message, repair: { do: 'clear-staging' } }]
}

const MOUNTPOINTS_SHOWN = 3

async function checkRecords(): Promise<Finding[]> {
  const { stale, damagedLines } = await inspectRecords()
  const what = 'the records of mounts in /run/stratum'
  const repair = { do: 'tidy-records' } as const
  const findings: Finding[] = []
  if (damagedLines > 0) {
    const message = `${damagedLines} of their lines cannot be read`
    findings.push({ severity: 'damage', kind: 'log-damaged', what, message, repair })
  }
  if (stale.length > 0) {
    const shown = stale.slice(0, MOUNTPOINTS_SHOWN).map(({ mountpoint }) => toUser(mountpoint))
    const message = `nothing is mounted at ${shown.join(', ')}${stale.length > shown.length ? ', …' : ''} any more`
    findings.push({ severity: 'leftover', kind: 'leftover', what, message, repair })
  }
  return findings
}
