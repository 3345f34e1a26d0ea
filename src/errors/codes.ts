/**
 * The closed set of ways in which Stratum can fail. A code says what kind of thing went wrong, never where; every code has one row
 * in `table.ts`, which says what a shell, kubelet and a StratumCommit are told.
 */
export type ErrorCode =
  | 'internal'
  | 'usage'
  | 'malformed'
  | 'partial'
  | 'not-found'
  | 'exists'
  | 'in-use'
  | 'busy'
  | 'timeout'
  | 'conflict'
  | 'unchanged'
  | 'unclean'
  | 'integrity'
  | 'no-store'
  | 'unsupported'
  | 'permission'
  | 'registry'
  | 'no-space'
  | 'unavailable'
  | 'out-of-range'
  | 'wrong-node'
  | 'other-holder'
  | 'interrupted'
