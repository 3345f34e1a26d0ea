import { StratumError } from '../../errors/stratum-error.ts'
import { exists, makeDirectory, readTextIfExists, replaceFile, syncDirectory } from '../../host/files.ts'
import { commitsOf } from '../../refs/resolve.ts'
import { listLabels } from '../../refs/tags.ts'
import type { Label } from '../../names/label.ts'
import { toUser } from '../../names/text.ts'
import { paths, type Store } from '../../store/layout.ts'
import { getObject } from '../client/objects.ts'
import { type Namespace, NAMESPACES } from '../resources/core.ts'
import type { NodeContext } from './node-context.ts'

/** Whoever may change a namespace gives it the labels of its predecessor by writing that one's UID here. */
const ADOPT = 'stratum.dev/adopt'

const folder = (store: Store): string => `${paths.state(store)}/namespaces`
const fileOf = (store: Store, name: string): string => `${folder(store)}/${name}`

/**
 * The UID of the namespace that labels of this name belong to. The first one that the store meets is remembered: a namespace that was deleted and made
 * again inherits nothing, and may begin anew where nothing is left. @throws permission (another one), not-found, unavailable
 */
export async function requireNamespace(
  { server, store }: NodeContext,
  name: string,
  signal?: AbortSignal,
): Promise<string> {
  const namespace = await getObject(server, NAMESPACES, { name }, { signal })
  if (namespace === undefined) throw new StratumError('not-found', `there is no namespace ${name}`)
  const { uid } = namespace.metadata
  const known = readTextIfExists(fileOf(store, name))?.trim()
  if (known === uid) return uid
  if (known !== undefined && known !== adopted(namespace)) {
    const left = leftIn(store, name)
    if (left !== undefined) throw foreign(store, name, { earlier: known, left })
  }
  if (makeDirectory(folder(store), 0o700)) syncDirectory(paths.state(store))
  replaceFile(fileOf(store, name), `${uid}\n`)
  return uid
}

/** A label of the namespace through which somebody's data can be reached. */
function leftIn(store: Store, name: string): Label | undefined {
  return listLabels(store).find(
    label => label.startsWith(`${name}/`) && (commitsOf(store, label).length > 0 || exists(paths.upper(store, label))),
  )
}

function foreign(store: Store, name: string, { earlier, left }: { earlier: string; left: Label }): StratumError {
  const give = `To give them to this one: kubectl annotate namespace ${name} ${ADOPT}=${earlier}`
  const remove = `To begin anew, remove them on the node: stratum --store ${toUser(store.path)} remove ${left} --yes`
  return new StratumError(
    'permission',
    `the labels of ${name}/ (${left}, say) belong to an earlier namespace of that name (${earlier})`,
    { hint: `${give}. ${remove}`, details: { namespace: name, earlier } },
  )
}

function adopted({ metadata }: Namespace): string | undefined {
  return metadata.annotations?.[ADOPT]
}
