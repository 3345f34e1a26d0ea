import type { AccessMode } from './ledger.ts'

/** What is to be published, as it came: nothing in it is trusted. */
export interface PublishRequest {
  readonly volumeId: string
  readonly target: string
  readonly readOnly: boolean
  readonly accessMode: AccessMode
  readonly mountFlags: readonly string[]
  /** A group that is to be able to write; undefined for none. */
  readonly mountGroup: number | undefined
  readonly attributes: Readonly<Record<string, string>>
}
