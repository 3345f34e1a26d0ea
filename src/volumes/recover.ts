import fs from 'node:fs'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { thawHead } from '../heads/freeze.ts'
import { isOnTop } from '../heads/head-mounts.ts'
import { listNames, nameOf, parentOf, readTextIfExists } from '../host/files.ts'
import { mountNumberAt } from '../host/stat.ts'
import { listMounted, type Mounted } from '../mounts/records.ts'
import { isLabel, type Label } from '../names/label.ts'
import { isCommitId } from '../names/commit-id.ts'
import { nodePath } from '../names/text.ts'
import { readHead } from '../refs/head-file.ts'
import { listLabels } from '../refs/tags.ts'
import type { Store } from '../store/layout.ts'
import { lockLabelIfAny } from '../store/locks.ts'
import { headPath, retireHead } from './head-overlay.ts'
import { createLedger, ledgerFile, type Publication, type Published, strike } from './ledger.ts'
import type { Target } from './targets.ts'
import type { DriverOptions, HolderArbiter, Volumes } from './volumes.ts'

const NODE_ID_MAX = 63
/** No mount has this number. */
const COVERED = 0n

/**
 * Opens a store for kubelet. Whoever a process that died left standing goes on first of all; then what is published is found out from
 * the ledger, mountinfo and kubelet's notes; HEADs that nobody uses are unmounted in the background. @throws usage (the node's name)
 */
export async function openVolumes(store: Store, driver: DriverOptions, holders: HolderArbiter): Promise<Volumes> {
  if (driver.nodeId.length > NODE_ID_MAX)
    throw new StratumError('usage', `the node's name has more than ${NODE_ID_MAX} characters: ${driver.nodeId}`, {
      hint: 'It is a topology value, which Kubernetes limits so',
    })
  await thawAll(store)
  const volumes: Volumes = { store, driver, holders, ledger: createLedger(driver.name, store) }
  rebuild(volumes)
  return volumes
}

/** A label that is locked has a committer that lives: it lets everybody go on by itself. */
async function thawAll(store: Store): Promise<void> {
  for (const label of listLabels(store)) {
    if (!standsStill(store, label)) continue
    try {
      using lock = await lockLabelIfAny(store, label, { limitMs: 0 })
      if (lock !== undefined) thawHead(store, label)
    } catch (error) {
      if (!isStratumError(error, 'busy')) throw error
    }
  }
}

function standsStill(store: Store, label: Label): boolean {
  try {
    return readHead(store, label)?.still !== undefined
  } catch {
    return false // damaged: fsck says so
  }
}

function rebuild(volumes: Volumes): void {
  const { store, ledger } = volumes
  const notes = readNotes(volumes)
  const heads = new Set<Label>()
  for (const mounted of listMounted(store)) {
    if (isInHeads(volumes, mounted)) heads.add(mounted.label)
    else adopt(volumes, mounted, notes.get(mounted.mountpoint))
  }
  for (const target of notes.keys()) if (!ledger.published.has(target)) strike(ledger, target)
  const used = new Set([...ledger.published.values()].map(({ label }) => label))
  for (const label of heads) if (!used.has(label)) retireHead(volumes, label)
}

function isInHeads(volumes: Volumes, { mountpoint, label }: Mounted): boolean {
  return mountpoint === headPath(volumes, label)
}

/**
 * Takes a mount that is seen for a publication, if the ledger or kubelet's folders say that it is one. One that something else was mounted
 * over is kept, without a number: it is looked for again when it is on top.
 */
function adopt(volumes: Volumes, mounted: Mounted, note: Publication | undefined): Published | undefined {
  const publication = note !== undefined && describes(note, mounted) ? note : fromMount(volumes, mounted)
  if (publication === undefined) return undefined
  const number = isOnTop(mounted) ? mountNumberAt(mounted.mountpoint) : undefined
  const published = { ...publication, mount: number ?? COVERED }
  volumes.ledger.published.set(published.target, published)
  return published
}

function describes(note: Publication, mounted: Mounted): boolean {
  const { label, commit, generation } = mounted
  const isHead = note.name === undefined
  return (
    note.label === label &&
    isHead === (generation !== undefined) &&
    (isHead || note.commit === commit) &&
    note.readOnly === isReadOnly(mounted)
  )
}

/** A commit may make HEAD's superblock read-only for a moment; its targets are what they were. */
function isReadOnly({ generation, mountReadOnly }: Mounted): boolean {
  return generation === undefined || mountReadOnly
}

const KUBELET_TARGET = /^pods\/([^/]+)\/volumes\/kubernetes\.io~csi\/[^/]+\/mount$/

/** What mountinfo and kubelet's notes tell, where the ledger is lost. */
function fromMount({ driver }: Volumes, mounted: Mounted): Publication | undefined {
  const { mountpoint, label, commit, generation, tag } = mounted
  const folder = driver.kubeletDir
  const podUid = mountpoint.startsWith(`${folder}/`)
    ? KUBELET_TARGET.exec(mountpoint.slice(folder?.length ?? 0).slice(1))?.[1]
    : undefined
  if (podUid === undefined) return undefined
  return {
    target: mountpoint,
    volumeId: kubeletsVolumeId(driver, mountpoint),
    label,
    name: generation === undefined ? (tag ?? commit) : undefined,
    commit,
    readOnly: isReadOnly(mounted),
    accessMode: undefined,
    pod: { uid: podUid, namespace: '', name: '' },
    since: new Date().toISOString(),
  }
}

/** kubelet notes beside each target which volume of which driver it is. */
function kubeletsVolumeId(driver: DriverOptions, target: string): string | undefined {
  try {
    const text = fs.readFileSync(nodePath(`${parentOf(target)}/vol_data.json`), 'utf8')
    const { volumeHandle, driverName } = JSON.parse(text) as Record<string, unknown>
    return driverName === driver.name && typeof volumeHandle === 'string' ? volumeHandle : undefined
  } catch {
    return undefined
  }
}

function readNotes({ ledger }: Volumes): Map<string, Publication> {
  const notes = new Map<string, Publication>()
  for (const name of listNames(ledger.folder)) {
    const note = parseNote(readTextIfExists(`${ledger.folder}/${name}`) ?? '')
    if (note !== undefined && nameOf(ledgerFile(ledger.folder, note.target)) === name) notes.set(note.target, note)
    else fs.rmSync(nodePath(`${ledger.folder}/${name}`), { force: true })
  }
  return notes
}

function parseNote(text: string): Publication | undefined {
  try {
    const note = JSON.parse(text) as Publication
    const isWhole =
      typeof note.target === 'string' &&
      typeof note.label === 'string' &&
      isLabel(note.label) &&
      isCommitId(note.commit) &&
      typeof note.readOnly === 'boolean'
    return isWhole ? note : undefined
  } catch {
    return undefined
  }
}

/** The publication behind a mount at a target: known, or found out from mountinfo now. Undefined if the mount is none of ours. */
export function rememberMount(volumes: Volumes, target: Target, mount: bigint): Published | undefined {
  const known = volumes.ledger.published.get(target.path)
  if (known?.mount === mount) return known
  const [mounted] = listMounted(volumes.store)
    .filter(({ mountpoint }) => mountpoint === target.path)
    .slice(-1)
  if (mounted === undefined) return undefined
  const adopted = adopt(volumes, mounted, known ?? readNotes(volumes).get(target.path))
  return adopted?.mount === mount ? adopted : undefined
}
