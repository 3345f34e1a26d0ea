import type { Label } from '../names/label.ts'
import type { NamespacedName } from './volume-record.ts'

/** What a claim says of the volume that it wants; external-provisioner does not pass it on. */
export interface ClaimWishes {
  /** Of the claim. */
  readonly uid: string | undefined
  /** Annotation `stratum.dev/label`, without the namespace. */
  readonly label: string | undefined
  /** Annotation `stratum.dev/from`: `label:tag` of its own namespace or of `library/`. */
  readonly from: string | undefined
}

/** Where claims are: the API server, or nowhere. */
export interface Claims {
  read(claim: NamespacedName, signal: AbortSignal): Promise<ClaimWishes>
  /** Writes on the claim which label it got. */
  tellLabel(claim: NamespacedName, label: Label, signal: AbortSignal): Promise<void>
}

export const NO_CLAIMS: Claims = {
  read: async () => ({ uid: undefined, label: undefined, from: undefined }),
  tellLabel: async () => undefined,
}
