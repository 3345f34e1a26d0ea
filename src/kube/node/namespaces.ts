import { StratumError } from '../../errors/stratum-error.ts'
import { exists, makeDirectory, readTextIfExists, replaceFile, syncDirectory } from '../../host/files.ts'
import type { Label } from '../../names/label.ts'
import { toUser } from '../../names/text.ts'
import { commitsOf } from '../../refs/resolve.ts'
import { listLabels } from '../../refs/tags.ts'
import { paths, type Store } from '../../store/layout.ts'
import { statusOf } from '../client/api-error.ts'
import { getObject } from '../client/objects.ts'
import { type Namespace, NAMESPACES } from '../resources/core.ts'
import type { NodeContext } from './node-context.ts'

/** Whoever may change a namespace gives it the labels of its predecessor by writing that one's UID here. */
const ADOPT = 'stratum.dev/adopt'
/** kubelet waits for two minutes; what is known is used long before. */
const ASK_LIMIT_MS = 5_000

/** What a store knows of the namespaces of one name: a UID a line. */
interface Known {
  /** The one that the labels belong to. */
  readonly owner: string
  /** One that came after it and was not given its labels. No UID ever comes back, so it stays refused while nobody can be asked. */
  readonly other: string | undefined
}

const folder = (store: Store): string => `${paths.state(store)}/namespaces`
const fileOf = (store: Store, name: string): string => `${folder(store)}/${name}`

/**
 * The UID of the namespace that labels of this name belong to. The first one that the store meets is remembered: a namespace that was deleted and made
 * again inherits nothing, and begins anew where nothing is left to inherit. While the API server is away, what it said last counts. @throws permission (another one), not-found, unavailable
 */
export async function requireNamespace(
  { server, store, log }: NodeContext,
  name: string,
  signal?: AbortSignal,
): Promise<string> {
  let namespace: Namespace | undefined
  try {
    namespace = await getObject(server, NAMESPACES, { name }, { signal, limitMs: ASK_LIMIT_MS })
  } catch (error) {
    if (statusOf(error) === undefined) throw error // nobody refused or was silent: the caller gave up
    const owner = lastKnown(store, name, error)
    log.info({ namespace: name, why: (error as Error).message }, 'the namespace is taken for the one that it was')
    return owner
  }
  if (namespace === undefined) throw new StratumError('not-found', `there is no namespace ${name}`)
  const { uid } = namespace.metadata
  const known = readKnown(store, name)
  if (known?.owner === uid) return uid
  if (known !== undefined && known.owner !== adopted(namespace) && leftIn(store, name) !== undefined) {
    if (known.other !== uid) writeKnown(store, name, { ...known, other: uid })
    throw foreign(store, name, known)
  }
  writeKnown(store, name, { owner: uid, other: undefined })
  return uid
}

/** @throws permission, unavailable where this store never met the namespace: nobody can say whose its labels are */
function lastKnown(store: Store, name: string, cause: unknown): string {
  const known = readKnown(store, name)
  if (known === undefined)
    throw new StratumError(
      'unavailable',
      `nobody can say whose the labels of ${name}/ are: ${(cause as Error).message}`,
      {
        cause,
      },
    )
  if (known.other !== undefined) throw foreign(store, name, known)
  return known.owner
}

/** A label of the namespace through which somebody's data can be reached. */
function leftIn(store: Store, name: string): Label | undefined {
  return listLabels(store).find(
    label => label.startsWith(`${name}/`) && (commitsOf(store, label).length > 0 || exists(paths.upper(store, label))),
  )
}

function foreign(store: Store, name: string, { owner }: Known): StratumError {
  const left = leftIn(store, name) ?? `${name}/…`
  const give = `To give them to this one: kubectl annotate namespace ${name} ${ADOPT}=${owner}`
  const remove = `To do without them, remove them on this node: stratum --store ${toUser(store.path)} remove ${left} --yes`
  return new StratumError(
    'permission',
    `the labels of ${name}/ belong to an earlier namespace of that name (${owner})`,
    {
      hint: `${give}. ${remove}`,
      details: { namespace: name, earlier: owner },
    },
  )
}

function readKnown(store: Store, name: string): Known | undefined {
  const [owner, other] = readTextIfExists(fileOf(store, name))?.split('\n').filter(Boolean) ?? []
  return owner === undefined ? undefined : { owner, other }
}

function writeKnown(store: Store, name: string, { owner, other }: Known): void {
  if (makeDirectory(folder(store), 0o700)) syncDirectory(paths.state(store))
  replaceFile(fileOf(store, name), `${owner}\n${other === undefined ? '' : `${other}\n`}`)
}

function adopted({ metadata }: Namespace): string | undefined {
  return metadata.annotations?.[ADOPT]
}
