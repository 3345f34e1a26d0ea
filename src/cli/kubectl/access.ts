import { StratumError } from '../../errors/stratum-error.ts'
import { kubectlNamespace, openKubectlProxy } from '../../host/kubectl.ts'
import type { ApiServer } from '../../kube/client/api-server.ts'
import { getObject, listObjects } from '../../kube/client/objects.ts'
import { CLAIMS, DRIVER_NAME, VOLUMES } from '../../kube/resources/core.ts'
import { objectName } from '../../kube/resources/names.ts'
import { STRATUM_LABELS, type StratumLabel } from '../../kube/resources/stratum.ts'
import type { Invocation } from '../invocation.ts'

/** Options of every command of `kubectl stratum`. */
export interface KubectlOptions {
  readonly namespace?: string
  readonly context?: string
  readonly kubeconfig?: string
}

/** The API server as the user of kubectl, and the namespace that is meant. */
export interface Access extends AsyncDisposable {
  readonly server: ApiServer
  readonly namespace: string
}

/** @throws unavailable */
export async function openAccess({ options, signal }: Invocation<KubectlOptions>): Promise<Access> {
  const { context, kubeconfig, namespace } = options
  const flags = [
    ...(context === undefined ? [] : [`--context=${context}`]),
    ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
  ]
  const proxy = await openKubectlProxy(flags, signal)
  return {
    server: { address: { socketPath: proxy.socketPath }, ca: undefined, token: () => undefined },
    namespace: namespace ?? (await kubectlNamespace(flags)),
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
}

const CLAIM = /^(pvc|persistentvolumeclaims?)\//

/** The label that is meant: itself, or that of a claim. @throws not-found */
export async function labelOf({ server, namespace }: Access, text: string): Promise<string> {
  if (!CLAIM.test(text)) return text
  const name = text.replace(CLAIM, '')
  const claim = await getObject(server, CLAIMS, { namespace, name })
  if (claim === undefined)
    throw new StratumError('not-found', `there is no PersistentVolumeClaim ${name} in ${namespace}`)
  const { volumeName } = claim.spec
  const volume = volumeName ? await getObject(server, VOLUMES, { name: volumeName }) : undefined
  const full = volume?.spec.csi?.driver === DRIVER_NAME ? volume.spec.csi.volumeAttributes?.label : undefined
  if (full !== undefined) return full.split(':')[0].replace(`${namespace}/`, '')
  return claim.metadata.annotations?.['stratum.dev/label'] ?? name
}

/** The StratumLabel of a label. @throws not-found */
export async function requireLabel(access: Access, label: string): Promise<StratumLabel> {
  const { server, namespace } = access
  const found = label.startsWith('library/')
    ? (await listObjects(server, STRATUM_LABELS, { fieldSelector: `spec.label=${label}` }))[0]
    : await getObject(server, STRATUM_LABELS, { namespace, name: objectName(label) })
  if (found !== undefined) return found
  throw new StratumError('not-found', `there is no label ${label} in namespace ${namespace}`, {
    hint: `kubectl stratum tags -n ${namespace} lists its labels`,
  })
}
