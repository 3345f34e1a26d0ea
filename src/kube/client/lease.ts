import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../telemetry/log.ts'
import type { ApiServer } from './api-server.ts'
import { createObject, getObject, type KubeObject, replaceObject, type Resource } from './objects.ts'
import { isConflict } from './api-error.ts'
import { isStratumError } from '../../errors/stratum-error.ts'

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

/** What client-go's components use. */
const TIMING: ElectionTiming = { leaseMs: 15_000, renewLimitMs: 10_000, retryMs: 2_000 }

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
  const seen: Seen = { version: undefined, at: 0 }
  while (!(await tryTake(server, options, timing, seen))) {
    await sleep(timing.retryMs * (0.8 + Math.random() * 0.4), undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return 'stopped'
  }
  log.info({ identity }, 'leading')
  const leading = new AbortController()
  const work = lead(AbortSignal.any([signal, leading.signal]))
  const renewing = renew(server, options, timing, leading)
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
  version: string | undefined
  at: number
}

async function tryTake(
  server: ApiServer,
  { namespace, name, identity, log, signal }: ElectionOptions,
  { leaseMs }: ElectionTiming,
  seen: Seen,
): Promise<boolean> {
  try {
    const now = new Date().toISOString().replace('Z', '000Z')
    const lease = await getObject(server, LEASES, { namespace, name }, { signal })
    const spec = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(leaseMs / 1000), renewTime: now }
    if (lease === undefined) {
      const fresh = { ...spec, acquireTime: now, leaseTransitions: 0 }
      await createObject(server, LEASES, { metadata: { namespace, name }, spec: fresh }, { signal })
      return true
    }
    if (lease.metadata.resourceVersion !== seen.version) {
      seen.version = lease.metadata.resourceVersion
      seen.at = performance.now()
    }
    const holder = lease.spec.holderIdentity ?? ''
    const theirs = (lease.spec.leaseDurationSeconds ?? 0) * 1000
    if (holder !== '' && holder !== identity && performance.now() - seen.at < theirs) return false
    const leaseTransitions = (lease.spec.leaseTransitions ?? 0) + (holder === identity ? 0 : 1)
    await replaceObject(server, LEASES, { ...lease, spec: { ...spec, acquireTime: now, leaseTransitions } }, { signal })
    return true
  } catch (error) {
    if (!signal.aborted && !isConflict(error) && !isStratumError(error, 'exists'))
      log.warn({ why: (error as Error).message }, 'the lease cannot be had')
    return false
  }
}

/** Renews until `leading` is aborted, and aborts it when that failed for too long or somebody else has the lease. */
async function renew(
  server: ApiServer,
  { namespace, name, identity, log }: ElectionOptions,
  { renewLimitMs, retryMs }: ElectionTiming,
  leading: AbortController,
): Promise<void> {
  const { signal } = leading
  let renewedAt = performance.now()
  const watchdog = setInterval(() => {
    if (performance.now() - renewedAt > renewLimitMs) leading.abort()
  }, retryMs / 2)
  while (!signal.aborted) {
    await sleep(retryMs, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) break
    const begun = performance.now()
    try {
      const lease = await getObject(server, LEASES, { namespace, name }, { signal })
      if (lease?.spec.holderIdentity !== identity) {
        log.warn({ holder: lease?.spec.holderIdentity }, 'the lease was taken')
        leading.abort()
        break
      }
      const renewTime = new Date().toISOString().replace('Z', '000Z')
      await replaceObject(server, LEASES, { ...lease, spec: { ...lease.spec, renewTime } }, { signal })
      renewedAt = begun
    } catch (error) {
      if (!signal.aborted) log.warn({ why: (error as Error).message }, 'the lease was not renewed')
    }
  }
  clearInterval(watchdog)
}

/** So that the next one need not wait. */
async function giveBack(server: ApiServer, { namespace, name, identity }: ElectionOptions): Promise<void> {
  const signal = AbortSignal.timeout(5_000)
  const lease = await getObject(server, LEASES, { namespace, name }, { signal })
  if (lease?.spec.holderIdentity !== identity) return
  const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 }
  await replaceObject(server, LEASES, { ...lease, spec }, { signal })
}
