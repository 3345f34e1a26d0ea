import type { ErrorCode } from './codes.ts'

interface Mapping {
  /** Exit status of the command line (docs/cli.md). Numbers are never given a new meaning. */
  exit: number
  /** gRPC status code by number, as CSI defines its meaning. */
  grpc: number
  /** Condition reason of a StratumCommit. */
  reason: string
  /** Whether the same request can succeed later without being changed. */
  retry: boolean
}

const GRPC = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
} as const

/** The only place that knows what an error means outside: a code without a row does not compile. */
export const ERROR_TABLE = {
  internal: { exit: 1, grpc: GRPC.internal, reason: 'InternalError', retry: true },
  usage: { exit: 2, grpc: GRPC.invalidArgument, reason: 'InvalidSpec', retry: false },
  malformed: { exit: 1, grpc: GRPC.invalidArgument, reason: 'Malformed', retry: false },
  partial: { exit: 3, grpc: GRPC.internal, reason: 'Partial', retry: false },
  'not-found': { exit: 4, grpc: GRPC.notFound, reason: 'NotFound', retry: true },
  exists: { exit: 5, grpc: GRPC.alreadyExists, reason: 'AlreadyExists', retry: false },
  'in-use': { exit: 6, grpc: GRPC.failedPrecondition, reason: 'InUse', retry: true },
  busy: { exit: 7, grpc: GRPC.aborted, reason: 'Busy', retry: true },
  timeout: { exit: 7, grpc: GRPC.deadlineExceeded, reason: 'DeadlineExceeded', retry: true },
  conflict: { exit: 1, grpc: GRPC.aborted, reason: 'Conflict', retry: true },
  /** A commit was to be refused if it were as the last one. */
  unchanged: { exit: 1, grpc: GRPC.failedPrecondition, reason: 'NothingToCommit', retry: false },
  unclean: { exit: 8, grpc: GRPC.failedPrecondition, reason: 'Unclean', retry: false },
  integrity: { exit: 9, grpc: GRPC.dataLoss, reason: 'IntegrityError', retry: false },
  'no-store': { exit: 10, grpc: GRPC.failedPrecondition, reason: 'NoStore', retry: true },
  unsupported: { exit: 11, grpc: GRPC.failedPrecondition, reason: 'Unsupported', retry: false },
  permission: { exit: 11, grpc: GRPC.permissionDenied, reason: 'PermissionDenied', retry: false },
  registry: { exit: 12, grpc: GRPC.unavailable, reason: 'RegistryError', retry: true },
  'no-space': { exit: 13, grpc: GRPC.resourceExhausted, reason: 'NoSpace', retry: true },
  unavailable: { exit: 1, grpc: GRPC.unavailable, reason: 'Unavailable', retry: true },
  'out-of-range': { exit: 2, grpc: GRPC.outOfRange, reason: 'OutOfRange', retry: false },
  /** The volume or its source lies on another node: the scheduler is to look again. */
  'wrong-node': { exit: 4, grpc: GRPC.resourceExhausted, reason: 'WrongNode', retry: true },
  /** HEAD belongs to another node. */
  'other-holder': { exit: 6, grpc: GRPC.failedPrecondition, reason: 'OtherHolder', retry: true },
  interrupted: { exit: 130, grpc: GRPC.cancelled, reason: 'Interrupted', retry: true },
} as const satisfies Record<ErrorCode, Mapping>
