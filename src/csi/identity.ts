import type { IdentityHandlers } from './generated/csi/v1/Identity.ts'
import type { Methods } from './call.ts'
import { pluginCapabilities } from './capabilities.ts'
import { VERSION } from '../version.ts'

/** @param ready what keeps the plugin from working, for now; undefined if nothing does */
export function identityMethods(driver: string, ready: () => string | undefined): Methods<IdentityHandlers> {
  return {
    GetPluginInfo: async () => ({ name: driver, vendor_version: VERSION, manifest: {} }),
    GetPluginCapabilities: async () => ({ capabilities: pluginCapabilities() }),
    Probe: async () => ({ ready: { value: ready() === undefined } }),
  }
}
