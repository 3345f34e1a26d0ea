/** Placeholder of the first commit: what is published where. */
export interface Ledger {
  readonly size: number
}
