import { StratumError } from '../../errors/stratum-error.ts'
import { makeDirectory, readTextIfExists, replaceFile, syncDirectory } from '../../host/files.ts'
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
 * again inherits nothing. @throws permission (another one), not-found, unavailable
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
    throw new StratumError(
      'permission',
      `the labels of ${name}/ belong to an earlier namespace of that name (${known})`,
      {
        hint: `To give them to this one: kubectl annotate namespace ${name} ${ADOPT}=${known}`,
        details: { namespace: name, earlier: known },
      },
    )
  }
  if (makeDirectory(folder(store), 0o700)) syncDirectory(paths.state(store))
  replaceFile(fileOf(store, name), `${uid}\n`)
  return uid
}

function adopted({ metadata }: Namespace): string | undefined {
  return metadata.annotations?.[ADOPT]
}
