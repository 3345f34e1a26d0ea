import type { Consistency } from '../heads/stand-still.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { quote } from '../names/label.ts'
import type { NamespacedName, OnDelete } from './volume-record.ts'

/** What a StorageClass says of its volumes. */
export interface VolumeParameters {
  readonly uid: number
  readonly gid: number
  /** Permission bits of the root directory. */
  readonly mode: number
  readonly onDelete: OnDelete
}

/** What a VolumeSnapshotClass says of its snapshots. */
export interface SnapshotParameters {
  readonly consistency: Consistency
  readonly allowUnclean: boolean
}

type TextMap = Readonly<Record<string, string>>

/** What Kubernetes' own parts add (--extra-create-metadata); never an error, as they add more with time. */
const FOREIGN = 'csi.storage.k8s.io/'
const ID_MAX = 0xffff_fffe
const MODE = /^0?[0-7]{3,4}$/
const DEFAULT_MODE = '0755'

/** @throws usage for anything unknown */
export function parseVolumeParameters(parameters: TextMap): VolumeParameters {
  const { uid = '0', gid = '0', mode = DEFAULT_MODE, onDelete = 'Head' } = known(parameters, VOLUME_KEYS)
  if (!MODE.test(mode)) throw wrong('mode', mode, 'permission bits in octal, as 0775')
  return {
    uid: idOf('uid', uid),
    gid: idOf('gid', gid),
    mode: Number.parseInt(mode, 8),
    onDelete: oneOf('onDelete', onDelete, { Head: 'Head', Label: 'Label' }),
  }
}

const VOLUME_KEYS = ['uid', 'gid', 'mode', 'onDelete'] as const

/** @throws usage for anything unknown */
export function parseSnapshotParameters(parameters: TextMap): SnapshotParameters {
  const { consistency = 'Freeze', unclean = 'Allow' } = known(parameters, SNAPSHOT_KEYS)
  return {
    consistency: oneOf('consistency', consistency, { Freeze: 'freeze', Live: 'live', Idle: 'idle' }),
    allowUnclean: oneOf('unclean', unclean, { Allow: true, Refuse: false }),
  }
}

const SNAPSHOT_KEYS = ['consistency', 'unclean'] as const

/** The claim or VolumeSnapshot that a request is for, as far as the sidecar tells. @throws usage */
export function requesterOf(parameters: TextMap, kind: 'pvc' | 'volumesnapshot'): NamespacedName | undefined {
  const name = parameters[`${FOREIGN}${kind}/name`]
  const namespace = parameters[`${FOREIGN}${kind}/namespace`]
  if (name === undefined && namespace === undefined) return undefined
  if (name) if (namespace) return { namespace, name }
  throw new StratumError('usage', `${FOREIGN}${kind}/name and ${FOREIGN}${kind}/namespace belong together`)
}

function known<Key extends string>(parameters: TextMap, keys: readonly Key[]): { readonly [Each in Key]?: string } {
  const own = Object.entries(parameters).filter(([key]) => !key.startsWith(FOREIGN))
  for (const [key] of own)
    if (!(keys as readonly string[]).includes(key))
      throw new StratumError('usage', `the parameter ${quote(key)} is unknown`, {
        hint: `There are ${keys.join(', ')} (docs/csi.md)`,
      })
  return Object.fromEntries(own) as { readonly [Each in Key]?: string }
}

function idOf(key: string, text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) <= ID_MAX) return Number(text)
  throw wrong(key, text, `a number from 0 to ${ID_MAX}`)
}

function oneOf<Value>(key: string, text: string, values: Readonly<Record<string, Value>>): Value {
  if (Object.hasOwn(values, text)) return values[text]
  throw wrong(key, text, Object.keys(values).join(' or '))
}

function wrong(key: string, text: string, expected: string): StratumError {
  return new StratumError('usage', `the parameter ${key} is ${quote(text)}; it has to be ${expected}`)
}
