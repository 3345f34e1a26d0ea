import type { Context } from '../repository/context.ts'
import type { Label } from '../names/label.ts'
import type { Store } from '../store/layout.ts'
import type { Ledger } from './ledger.ts'

/** What the verbs of this room need: the store and how this node presents it to kubelet. */
export interface Volumes {
  readonly store: Store
  readonly driver: DriverOptions
  readonly ledger: Ledger
  readonly holders: HolderArbiter
}

export interface DriverOptions {
  /** The CSI driver's name: `stratum.csi.dev`. */
  readonly name: string
  readonly nodeId: string
  /** kubelet's folder, `/var/lib/kubelet`: targets outside it are refused. Undefined where no kubelet is (csi-sanity, Nomad): any absolute path. */
  readonly kubeletDir: string | undefined
  /** Where HEADs are mounted, once each: `<kubeletDir>/plugins/<driver>-heads`. */
  readonly headsDir: string
}

/** Who may use labels here: a HEAD one node at a time, a namespace its own. Without a cluster, this node and everybody. */
export interface HolderArbiter {
  /** Before the first mount of a HEAD. @throws other-holder (with its name), unavailable */
  take(label: Label, signal: AbortSignal): Promise<void>
  /** After the HEAD was deleted. */
  release(label: Label): Promise<void>
  /** Before a pod sees a label of its own namespace; `take` asks it, too. @throws permission (it was deleted and made again), unavailable */
  requireNamespace(namespace: string, signal: AbortSignal): Promise<void>
}

export const SOLE_HOLDER: HolderArbiter = {
  take: async () => undefined,
  release: async () => undefined,
  requireNamespace: async () => undefined,
}

/** Who is named in the log of a label for what kubelet and the sidecars ask for. */
export const ACTOR = 'csi'

/** The context of the repository's verbs for a call. `actor` is who is named in the label's log. */
export function contextOf({ store }: Volumes, actor: string, signal: AbortSignal): Context {
  return { store, actor, signal }
}
