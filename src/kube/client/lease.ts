import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../telemetry/log.ts'
import type { ApiServer } from './api-server.ts'
import { createObject, getObject, type KubeObject, replaceObject, type Resource } from './objects.ts'
import { isConflict } from './api-error.ts'
import { isStratumError } from '../../errors/stratum-error.ts'
import { mirrorResource } from './mirror.ts'

interface Lease extends KubeObject {
  readonly spec: {
    readonly holderIdentity?: string
    readonly leaseDurationSeconds?: number
    readonly acquireTime?: string
    readonly renewTime?: string
    readonly leaseTransitions?: number
  }
}

const LEASES: Resource<Lease> = {
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
}

export interface ElectionOptions {
  readonly namespace: string
  readonly name: string
  /** Names this process and no other. */
  readonly identity: string
  readonly log: Logger
  readonly signal: AbortSignal
  /** For tests. */
  readonly timing?: ElectionTiming
}

export interface ElectionTiming {
  /** So long nobody else takes a lease that is not renewed. */
  readonly leaseMs: number
  /** A leader that could not renew for so long stops leading. */
  readonly renewLimitMs: number
  readonly retryMs: number
}

/**
 * What a crash of the leader may cost: nobody watches over deadlines for half a minute (nodes go on with their requests without it). For that, an idle
 * leader writes six times a minute and a standby asks nothing.
 */
const TIMING: ElectionTiming = { leaseMs: 30_000, renewLimitMs: 20_000, retryMs: 10_000 }

/**
 * Waits until this process leads, then calls `lead`, whose signal is aborted when the lease is lost or `signal` is. Returns when `lead` did; the lease is
 * given back then. Times of other machines are never compared: a lease is free when it did not change for its duration by our own clock. Election
 * is no fencing: every write of the leader names the resource version that it was decided on.
 */
export async function leadWhenElected(
  server: ApiServer,
  options: ElectionOptions,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<'lost' | 'stopped'> {
  const { signal, log, identity } = options
  const timing = options.timing ?? TIMING
  const taken = await waitForLease(server, options, timing)
  if (taken === undefined) return 'stopped'
  log.info({ identity }, 'leading')
  const leading = new AbortController()
  const work = lead(AbortSignal.any([signal, leading.signal]))
  const renewing = renew(server, options, { timing, leading, taken })
  try {
    await work
  } finally {
    const lost = leading.signal.aborted
    leading.abort()
    await renewing
    if (!lost) await giveBack(server, options).catch(error => log.warn({ why: (error as Error).message }, 'lease kept'))
  }
  return signal.aborted ? 'stopped' : 'lost'
}

/** The lease as last seen, and when it changed by our clock. */
interface Seen {
  lease: Lease | undefined
  at: number
}

function note(seen: Seen, lease: Lease | undefined): void {
  if (lease !== undefined && lease.metadata.resourceVersion === seen.lease?.metadata.resourceVersion) return
  seen.lease = lease
  seen.at = performance.now()
}

/**
 * Watches the lease and takes it when it is free: given back, ours, or not renewed for its duration. The watch only says when to look; what is taken was
 * read right before. Undefined when the signal came first.
 */
async function waitForLease(
  server: ApiServer,
  options: ElectionOptions,
  timing: ElectionTiming,
): Promise<Lease | undefined> {
  const { namespace, name, identity, signal, log } = options
  const seen: Seen = { lease: undefined, at: 0 }
  let wake = Promise.withResolvers<void>()
  await using mirror = mirrorResource(server, LEASES, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    onChange(_, now) {
      note(seen, now)
      wake.resolve()
    },
    log,
  })
  await Promise.race([mirror.synced.catch(() => undefined), sleep(timing.retryMs, undefined, { ref: false })])
  while (!signal.aborted) {
    const waitMs = untilFree(seen, identity)
    if (waitMs <= 0) {
      const taken = await tryTake(server, options, timing, seen)
      if (taken !== undefined) return taken
    }
    // Not all at once, and not in a circle when the API server answers nobody.
    const pauseMs = Math.max(waitMs, timing.retryMs * (0.3 + Math.random() * 0.4))
    const ended = new AbortController()
    const either = AbortSignal.any([signal, ended.signal])
    await Promise.race([wake.promise, sleep(pauseMs, undefined, { signal: either }).catch(() => undefined)])
    ended.abort()
    wake = Promise.withResolvers()
  }
  return undefined
}

/** Milliseconds until the lease may be taken, as far as is known. */
function untilFree({ lease, at }: Seen, identity: string): number {
  const { holderIdentity = '', leaseDurationSeconds = 0 } = lease?.spec ?? {}
  if (holderIdentity === '' || holderIdentity === identity) return 0
  return at + leaseDurationSeconds * 1000 - performance.now()
}

/** Undefined if somebody else has it, or had it a moment ago. */
async function tryTake(
  server: ApiServer,
  { namespace, name, identity, log, signal }: ElectionOptions,
  { leaseMs }: ElectionTiming,
  seen: Seen,
): Promise<Lease | undefined> {
  try {
    const lease = await getObject(server, LEASES, { namespace, name }, { signal })
    note(seen, lease)
    if (untilFree(seen, identity) > 0) return undefined
    const now = microTime()
    const spec = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(leaseMs / 1000), renewTime: now }
    if (lease === undefined) {
      const fresh = { ...spec, acquireTime: now, leaseTransitions: 0 }
      return await createObject(server, LEASES, { metadata: { namespace, name }, spec: fresh }, { signal })
    }
    const isNew = lease.spec.holderIdentity !== identity
    const leaseTransitions = (lease.spec.leaseTransitions ?? 0) + (isNew ? 1 : 0)
    const next = { ...lease, spec: { ...spec, acquireTime: now, leaseTransitions } }
    return await replaceObject(server, LEASES, next, { signal })
  } catch (error) {
    if (!signal.aborted && !isConflict(error) && !isStratumError(error, 'exists'))
      log.warn({ why: (error as Error).message }, 'the lease cannot be had')
    return undefined
  }
}

interface Renewal {
  readonly timing: ElectionTiming
  readonly leading: AbortController
  /** As it was written when it was taken. */
  readonly taken: Lease
}

/** Renews until `leading` is aborted, and aborts it when that failed for too long or somebody else has the lease. */
async function renew(server: ApiServer, options: ElectionOptions, { timing, leading, taken }: Renewal): Promise<void> {
  const { renewLimitMs, retryMs } = timing
  const { log } = options
  const { signal } = leading
  let lease: Lease | undefined = taken
  let renewedAt = performance.now()
  const watchdog = setInterval(() => {
    if (performance.now() - renewedAt > renewLimitMs) leading.abort()
  }, retryMs / 2)
  while (!signal.aborted) {
    // After a failure sooner: the limit is two periods.
    await sleep(lease === undefined ? retryMs / 5 : retryMs, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) break
    const begun = performance.now()
    try {
      // A server that does not answer must not use up the time for another try.
      const limited = AbortSignal.any([signal, AbortSignal.timeout(retryMs)])
      lease = await writeRenewal(server, options, { lease, signal: limited })
      if (lease === undefined) {
        leading.abort()
        break
      }
      renewedAt = begun
    } catch (error) {
      lease = undefined // what was written last is not known: it is read first the next time
      if (!signal.aborted) log.warn({ why: (error as Error).message }, 'the lease was not renewed')
    }
  }
  clearInterval(watchdog)
}

/** One call where nobody else wrote the lease. Returns it as it is then, undefined if somebody else has it. @throws unavailable, conflict */
async function writeRenewal(
  server: ApiServer,
  { namespace, name, identity, log }: ElectionOptions,
  { lease, signal }: { lease: Lease | undefined; signal: AbortSignal },
): Promise<Lease | undefined> {
  const current = lease ?? (await getObject(server, LEASES, { namespace, name }, { signal }))
  if (current?.spec.holderIdentity !== identity) {
    log.warn({ holder: current?.spec.holderIdentity }, 'the lease was taken')
    return undefined
  }
  return replaceObject(server, LEASES, { ...current, spec: { ...current.spec, renewTime: microTime() } }, { signal })
}

/** RFC 3339 with microseconds, as Leases want it. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z')
}

/** So that the next one need not wait. */
async function giveBack(server: ApiServer, { namespace, name, identity }: ElectionOptions): Promise<void> {
  const signal = AbortSignal.timeout(5_000)
  const lease = await getObject(server, LEASES, { namespace, name }, { signal })
  if (lease?.spec.holderIdentity !== identity) return
  const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 }
  await replaceObject(server, LEASES, { ...lease, spec }, { signal })
}
