import { setTimeout as sleep } from 'node:timers/promises'
import { isStratumError, StratumError } from '../../errors/stratum-error.ts'
import type { Label } from '../../names/label.ts'
import type { HolderArbiter } from '../../volumes/volumes.ts'
import { isConflict } from '../client/api-error.ts'
import { createObject, getObject, patchStatus } from '../client/objects.ts'
import { timestamp } from '../resources/conditions.ts'
import { type LabelName, labelName } from '../resources/names.ts'
import { type Holder, STRATUM_LABELS, type StratumLabel } from '../resources/stratum.ts'
import { forgetHolder, isHeld, readHolder, writeHolder } from './holder-records.ts'
import { requireNamespace } from './namespaces.ts'
import type { NodeContext } from './node-context.ts'

const TRIES_MAX = 8
const RETRY_MS = 50
/** kubelet waits for two minutes; a HEAD that is held is mounted long before, whatever the API server does. */
const ASK_LIMIT_MS = 5_000

/**
 * One HEAD, one holder: the StratumLabel's status names the store, which takes it by compare-and-swap before the first mount. What this store holds it
 * keeps while the API server is away.
 */
export function createHolders(context: NodeContext, onChange: (label: Label) => void = () => undefined): HolderArbiter {
  const { store, home, log } = context
  return {
    async take(label, signal) {
      const name = labelName(label, home)
      if (name === undefined) return // without a namespace, no other node has a label of that name
      try {
        if (await claim(context, label, name, signal)) onChange(label)
      } catch (error) {
        if (!isStratumError(error, 'unavailable') || !isHeld(store, label)) throw error
        log.info({ label, why: error.message }, 'HEAD is held since before')
      }
    },
    async requireNamespace(namespace, signal) {
      if (namespace !== home) await requireNamespace(context, namespace, signal)
    },
    async release(label) {
      const record = readHolder(store, label)
      if (record === undefined) return
      writeHolder(store, { ...record, state: 'released' })
      await giveBack(context, label).catch(error => {
        log.info({ label, why: (error as Error).message }, 'HEAD is given back later')
      })
      onChange(label)
    },
  }
}

/** Makes this store the holder. Returns false if it was before. @throws other-holder, permission (the namespace), unavailable */
export async function claim(
  context: NodeContext,
  label: Label,
  name: LabelName,
  signal?: AbortSignal,
): Promise<boolean> {
  const { server, store, nodeName, log } = context
  const namespaceUid =
    name.namespace === context.home ? undefined : await requireNamespace(context, name.namespace, signal)
  for (let tries = 1; ; tries++) {
    const object = await ensureObject(context, name, signal)
    const holder = object.status?.holder ?? undefined
    if (holder !== undefined && holder.storeId !== store.id) throw otherHolder(label, name, holder, nodeName)
    try {
      if (holder === undefined) {
        const since = timestamp(Date.now())
        const status = {
          holder: { storeId: store.id, nodeName, since },
          ...(namespaceUid === undefined ? {} : { namespaceUid }),
        }
        await patchStatus(server, STRATUM_LABELS, object, status, { signal })
        log.info({ label }, 'holder')
      }
      if (isHeld(store, label)) return false
      writeHolder(store, { label, state: 'held', since: timestamp(Date.now()) })
      return true
    } catch (error) {
      if (!isConflict(error) || tries >= TRIES_MAX) throw error
      await sleep(RETRY_MS * tries, undefined, { signal })
    }
  }
}

/** Takes this store's name from the StratumLabel, then forgets it here. @throws unavailable */
export async function giveBack({ server, store, home }: NodeContext, label: Label): Promise<void> {
  const name = labelName(label, home)
  const object = name === undefined ? undefined : await getObject(server, STRATUM_LABELS, name)
  if (isHeld(store, label)) return // it was taken again meanwhile
  if (object?.status?.holder?.storeId === store.id) await patchStatus(server, STRATUM_LABELS, object, { holder: null })
  if (!isHeld(store, label)) forgetHolder(store, label)
}

/** The StratumLabel of a label; made if it is missing. */
export async function ensureObject(
  { server }: NodeContext,
  { namespace, name, label }: LabelName,
  signal?: AbortSignal,
): Promise<StratumLabel> {
  for (let tries = 1; ; tries++) {
    const object = await getObject(server, STRATUM_LABELS, { namespace, name }, { signal, limitMs: ASK_LIMIT_MS })
    if (object !== undefined) return object
    try {
      return await createObject(server, STRATUM_LABELS, { metadata: { namespace, name }, spec: { label } }, { signal })
    } catch (error) {
      if (!isStratumError(error, 'exists') || tries >= TRIES_MAX) throw error
    }
  }
}

function otherHolder(label: Label, { namespace, label: short }: LabelName, holder: Holder, self: string): StratumError {
  const release = `kubectl stratum release ${short} -n ${namespace}`
  if (holder.nodeName === self) {
    return new StratumError(
      'other-holder',
      `HEAD of ${label} was in the store ${holder.storeId} of this node, which is not the one that is here now`,
      {
        hint: `If that store is gone for ever, its changes since the last commit are too; ${release} --force says so`,
        details: { holder: holder.nodeName, storeId: holder.storeId },
      },
    )
  }
  return new StratumError('other-holder', `HEAD of ${label} is on node ${holder.nodeName}`, {
    hint: `A pod that uses it runs there (nodeAffinity). If that node is gone for ever: ${release}`,
    details: { holder: holder.nodeName, storeId: holder.storeId },
  })
}
