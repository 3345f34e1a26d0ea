import { type CallContext, type Methods, readingAll, wrapService } from './call.ts'
import type { ControllerHandlers } from './generated/csi/v1/Controller.ts'
import type { IdentityHandlers } from './generated/csi/v1/Identity.ts'
import type { NodeHandlers } from './generated/csi/v1/Node.ts'
import type { Protocols } from './protocol.ts'
import { serveSocket, type SocketServer } from './server.ts'

/** What the services of the plugin answer. */
export interface Services {
  readonly identity: Methods<IdentityHandlers>
  readonly controller: Methods<ControllerHandlers>
  readonly node: Methods<NodeHandlers>
}

/** Serves all services on one socket, as kubelet and the sidecars expect it. */
export function serveServices(
  endpoint: string,
  protocols: Protocols,
  context: CallContext,
  { identity, controller, node }: Services,
): Promise<SocketServer> {
  const { Identity, Controller, Node } = protocols.csi
  return serveSocket(
    endpoint,
    protocols,
    server => {
      server.addService(readingAll(Identity.service), wrapService(context, 'Identity', identity))
      server.addService(readingAll(Controller.service), wrapService(context, 'Controller', controller))
      server.addService(readingAll(Node.service), wrapService(context, 'Node', node))
    },
    context.gate,
  )
}
