import type { RegistrationHandlers } from './generated/pluginregistration/Registration.ts'
import { type CallContext, type Methods, readingAll, wrapService } from './call.ts'
import type { Protocols } from './protocol.ts'
import { serveSocket, type ServiceList, type SocketServer, socketPath } from './server.ts'

export interface RegistrationOptions {
  readonly driver: string
  /** The socket of the CSI services, as kubelet sees it. */
  readonly endpoint: string
  /** kubelet's plugins_registry folder. */
  readonly folder: string
  /** Is told when kubelet took the plugin, or why not. */
  readonly onStatus: (error: string | undefined) => void
}

const VERSIONS = ['1.0.0']

/** Tells kubelet of the plugin, as node-driver-registrar would: kubelet finds the socket and asks. */
export function serveRegistration(
  protocols: Protocols,
  context: CallContext,
  options: RegistrationOptions,
): Promise<SocketServer> {
  const { driver, endpoint, folder, onStatus } = options
  const methods: Methods<RegistrationHandlers> = {
    GetInfo: async () => ({
      type: 'CSIPlugin',
      name: driver,
      endpoint: socketPath(endpoint),
      supported_versions: VERSIONS,
    }),
    NotifyRegistrationStatus: async ({ plugin_registered, error }) => {
      onStatus(plugin_registered ? undefined : error || 'kubelet refused the plugin')
      return {}
    },
  }
  const add = (services: ServiceList): void =>
    services.addService(
      readingAll(protocols.registration.Registration.service),
      wrapService(context, 'Registration', methods),
    )
  return serveSocket(`unix://${folder}/${driver}-reg.sock`, protocols, add, context.gate)
}
