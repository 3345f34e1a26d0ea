import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { close, makeDirectoryAt, openHandleAt, removeDirectoryAt } from '../host/descriptors.ts'
import { nameOf } from '../host/files.ts'
import { attachMountAt, cloneMount, copyMountAttributes, detachMount } from '../host/mount-api.ts'
import { uniqueMountId } from '../host/stat.ts'
import { formatReference } from '../names/reference.ts'
import { toUser } from '../names/text.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { hasLabel } from '../refs/tags.ts'
import { createCommitMount } from '../repository/mount.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { checkAccess, mountsReadOnly } from './access.ts'
import { ensureHead, headPath, requireStored, retireHead } from './head-overlay.ts'
import { noteIntent, type Publication, type Published, strike } from './ledger.ts'
import { giveToGroup } from './mount-group.ts'
import { readMountOptions, type TargetOptions } from './mount-options.ts'
import type { PublishRequest } from './publish-request.ts'
import { rememberMount } from './recover.ts'
import { type AtTarget, lookAt, namesIn, openParent, readTarget, type Target } from './targets.ts'
import { readVolumeSpec, type VolumeSpec } from './volume-attributes.ts'
import type { Volumes } from './volumes.ts'

/** A request that was understood. */
interface Plan {
  readonly request: PublishRequest
  readonly target: Target
  readonly spec: VolumeSpec
  readonly options: TargetOptions
  readonly readOnly: boolean
}

const TARGET_MODE = 0o750

/**
 * Mounts a volume at a target: a tag read-only, an overlay of its own; a HEAD as a bind of its one overlay. A repeat changes nothing.
 * When this fails, nothing is mounted. @throws usage, not-found, permission, exists (something else is published there), in-use (the
 * access mode, a foreign target), other-holder, unavailable
 */
export async function publishVolume(volumes: Volumes, request: PublishRequest, signal: AbortSignal): Promise<void> {
  const plan = planPublish(volumes, request)
  if (isDone(volumes, plan)) return
  if (plan.spec.reference.kind === 'head') return publishHead(volumes, plan, signal)
  await requireHeir(volumes, plan.spec, signal)
  await publishCommit(volumes, plan, signal)
}

/**
 * A namespace that was deleted and made again inherits nothing by its name. What an administrator shows it of another namespace it sees.
 * For a HEAD, whoever says which node holds it says that, too. @throws permission, unavailable
 */
async function requireHeir(
  { store, holders }: Volumes,
  { reference, pod }: VolumeSpec,
  signal: AbortSignal,
): Promise<void> {
  const { label } = reference
  if (pod === undefined || !label.startsWith(`${pod.namespace}/`) || !hasLabel(store, label)) return
  await holders.requireNamespace(pod.namespace, signal)
}

function planPublish(volumes: Volumes, request: PublishRequest): Plan {
  const target = readTarget(volumes.driver, request.target)
  const spec = readVolumeSpec(volumes, request.volumeId, request.attributes)
  if (target.podUid !== undefined && target.podUid !== spec.pod?.uid)
    throw new StratumError('permission', `${toUser(target.path)} is not in the folder of pod ${spec.pod?.uid}`)
  const readOnly = mountsReadOnly(request, spec)
  const options = readMountOptions(request.mountFlags, readOnly)
  return { request, target, spec, options, readOnly: options.attributes.includes('ro') }
}

async function publishCommit(volumes: Volumes, plan: Plan, signal: AbortSignal): Promise<void> {
  const { store } = volumes
  using _store = await lockStore(store, 'shared', { signal })
  signal.throwIfAborted()
  const { label, id, tag } = resolveCommit(store, plan.spec.reference)
  const { securityContext } = plan.options
  const { mount } = createCommitMount(store, { label, id, tag, allowSuidAndDevices: true, securityContext })
  try {
    place(volumes, plan, { mount, publication: publicationOf(plan, id) })
  } finally {
    close(mount)
  }
}

async function publishHead(volumes: Volumes, plan: Plan, signal: AbortSignal): Promise<void> {
  const { store, holders } = volumes
  const { reference, record } = plan.spec
  const { label } = reference
  requireStored(volumes, label, record !== undefined)
  await holders.take(label, signal)
  using _label = await lockLabel(store, label, { signal })
  using _store = await lockStore(store, 'shared', { signal })
  signal.throwIfAborted()
  const { securityContext } = plan.options
  try {
    const head = await ensureHead(volumes, label, { provisioned: record !== undefined, securityContext }, signal)
    const { mountGroup } = plan.request
    if (mountGroup !== undefined && !plan.readOnly) giveToGroup(volumes, label, mountGroup)
    const mount = cloneMount(headPath(volumes, label))
    try {
      place(volumes, plan, { mount, publication: publicationOf(plan, head.base) })
    } finally {
      close(mount)
    }
  } catch (error) {
    retireHead(volumes, label)
    throw error
  }
}

function publicationOf({ request, target, spec, readOnly }: Plan, commit: Publication['commit']): Publication {
  const { reference, pod } = spec
  return {
    target: target.path,
    volumeId: request.volumeId,
    label: reference.label,
    name: reference.kind === 'head' ? undefined : reference.name,
    commit,
    readOnly,
    accessMode: request.accessMode,
    pod,
    since: new Date().toISOString(),
  }
}

/** Whether exactly this is published at the target. @throws exists, in-use, usage */
function isDone(volumes: Volumes, plan: Plan): boolean {
  using parent = openParent(volumes.driver, plan.target)
  if (parent === undefined)
    throw new StratumError('usage', `the folder of ${toUser(plan.target.path)} is missing: the orchestrator makes it`)
  return isDoneAt(volumes, plan, lookAt(parent.fd, plan.target))
}

function isDoneAt(volumes: Volumes, plan: Plan, found: AtTarget): boolean {
  const { target, spec, request } = plan
  if (found.kind === 'other')
    throw new StratumError('in-use', `${toUser(target.path)} is ${found.what}`, { hint: 'Remove it' })
  const published = found.kind === 'mount' ? rememberMount(volumes, target, found.mount) : undefined
  if (found.kind === 'mount') {
    if (published === undefined)
      throw new StratumError('in-use', `something else is mounted at ${toUser(target.path)}`, {
        hint: `See what it is: findmnt ${toUser(target.path)}`,
      })
    requireSame(plan, published)
    return true
  }
  checkAccess(volumes, { volumeId: request.volumeId, target: target.path, reference: spec.reference }, request)
  return false
}

/** Mount options and access modes of a PersistentVolume can be edited, so they are not compared. @throws exists */
function requireSame({ request, target, spec, readOnly }: Plan, published: Published): void {
  const { reference } = spec
  const name = reference.kind === 'head' ? undefined : reference.name
  const isSame =
    (published.volumeId === undefined || published.volumeId === request.volumeId) &&
    published.label === reference.label &&
    published.name === name &&
    published.readOnly === readOnly
  if (isSame) return
  const what = `${published.label}:${published.name ?? 'HEAD'}, ${published.readOnly ? 'read-only' : 'writable'}, as volume ${published.volumeId}`
  throw new StratumError('exists', `${what} is published at ${toUser(target.path)} already`, {
    hint: `Asked for was ${formatReference(reference)}, ${readOnly ? 'read-only' : 'writable'}, as volume ${request.volumeId}`,
  })
}

/** A mount that is attached nowhere yet, and what it is to be noted as. */
interface Placement {
  readonly mount: number
  readonly publication: Publication
}

/** Attaches a mount at its target, in one go: nothing is awaited here, so no other call can come in between. */
function place(volumes: Volumes, plan: Plan, { mount, publication }: Placement): void {
  const { target, options } = plan
  copyMountAttributes(mount, options.attributes)
  const number = requireNumber(mount)
  using parent = openParent(volumes.driver, target)
  if (parent === undefined)
    throw new StratumError('usage', `the folder of ${toUser(target.path)} is missing: the orchestrator makes it`)
  const found = lookAt(parent.fd, target)
  if (isDoneAt(volumes, plan, found)) return
  if (found.kind === 'directory') requireEmpty(parent.fd, target)
  const done: Done = { parent: parent.fd, mount, made: found.kind === 'missing', attached: false }
  try {
    noteIntent(volumes.ledger, publication)
    if (done.made) makeDirectoryAt(parent.fd, nameOf(target.path), TARGET_MODE)
    attachAt(done, target)
    verify(volumes, target, number)
  } catch (error) {
    rollBack(volumes, target, done)
    throw toStratumError(error, `mounting at ${toUser(target.path)}`)
  }
  volumes.ledger.published.set(target.path, { ...publication, mount: number })
}

/** How far a placement came. */
interface Done {
  readonly parent: number
  readonly mount: number
  /** The target was missing. */
  readonly made: boolean
  attached: boolean
}

function requireNumber(mount: number): bigint {
  const number = uniqueMountId(mount)
  if (number === undefined) throw new StratumError('unsupported', 'the kernel does not number its mounts (Linux 6.8)')
  return number
}

/** What is in a target without a mount was written by somebody who believed it to be a volume: it is not hidden. */
function requireEmpty(parent: number, target: Target): void {
  const names = namesIn(parent, target)
  if (names.length === 0) return
  const shown = names.slice(0, 3).map(toUser).join(', ')
  throw new StratumError(
    'in-use',
    `${toUser(target.path)} holds ${names.length} names that no volume put there (${shown})`,
    {
      hint: 'They would be hidden: move them away',
    },
  )
}

function attachAt(done: Done, { path }: Target): void {
  const directory = openHandleAt(done.parent, nameOf(path))
  try {
    attachMountAt(done.mount, directory)
    done.attached = true
  } finally {
    close(directory)
  }
}

/** The whole path is walked again: what a pod will see there has to be this very mount. @throws unavailable */
function verify({ driver }: Volumes, target: Target, number: bigint): void {
  using parent = openParent(driver, target)
  const found = parent === undefined ? undefined : lookAt(parent.fd, target)
  if (found?.kind === 'mount' && found.mount === number) return
  throw new StratumError('unavailable', `${toUser(target.path)} was mounted, and something else is there now`)
}

/** kubelet forgets a mount whose publish failed for good: nothing may be left, or the failure is none for good. @throws unavailable */
function rollBack({ ledger }: Volumes, target: Target, { parent, mount, made, attached }: Done): void {
  try {
    if (attached) detachMount(mount)
    if (made && lookAt(parent, target).kind === 'directory') removeDirectoryAt(parent, nameOf(target.path))
    strike(ledger, target.path)
  } catch (cause) {
    throw new StratumError('unavailable', `${toUser(target.path)} could not be cleared after a failure`, { cause })
  }
}
