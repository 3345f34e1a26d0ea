import {
  type handleUnaryCall,
  type Metadata,
  type sendUnaryData,
  type ServiceDefinition,
  type ServerUnaryCall,
  type ServiceError,
  status as Status,
} from '@grpc/grpc-js'
import { toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { ERROR_TABLE } from '../errors/table.ts'
import { freeMemoryWhenQuiet } from '../host/memory.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type VolumeLocks, withVolume } from './volume-locks.ts'
import { checkSizes } from './validate.ts'

/** One call of a method, for its handler. */
export interface Call {
  readonly method: string
  /** Aborted when the caller gives up, its deadline passes or the process stops. */
  readonly signal: AbortSignal
  readonly log: Logger
}

export type Method<Request, Response> = (request: Request, call: Call) => Promise<Response>

/** The handlers of a service, as its generated type says, each as a plain asynchronous function. */
export type Methods<Handlers> = {
  [Name in keyof Handlers as Handlers[Name] extends handleUnaryCall<infer _Request, infer _Response>
    ? Name
    : never]?: Handlers[Name] extends handleUnaryCall<infer Request, infer Response> ? Method<Request, Response> : never
}

/** What every call goes through. */
export interface CallContext {
  readonly log: Logger
  readonly metrics: Metrics
  readonly locks: VolumeLocks
  /** Calls under way, and whether new ones are still taken. */
  readonly gate: CallGate
}

export interface CallGate {
  /** Calls under way end. */
  readonly stopping: AbortController
  /** New calls are refused. */
  draining: boolean
  underWay: number
  idle: (() => void) | undefined
}

export function createCallGate(): CallGate {
  return { stopping: new AbortController(), draining: false, underWay: 0, idle: undefined }
}

/** Calls without a deadline end after this time. kubelet's is two minutes. */
const DEFAULT_LIMIT_MS = 120_000
/** Fields of a request that may be logged; everything else may be a secret. */
const LOGGED = ['volume_id', 'name', 'target_path', 'snapshot_id', 'source_volume_id', 'readonly'] as const

type Request = Readonly<Record<string, unknown>>

/** Makes gRPC handlers of a service's methods. What a method throws becomes the status that the error table names. */
export function wrapService<Handlers>(
  context: CallContext,
  service: string,
  methods: Methods<Handlers>,
): Record<string, handleUnaryCall<Request, object>> {
  const wrapped: Record<string, handleUnaryCall<Request, object>> = {}
  for (const [name, method] of Object.entries(methods)) {
    wrapped[name] = (call, reply) =>
      void serve(context, `${service}/${name}`, method as Method<Request, object>, call, reply)
  }
  return wrapped
}

/** What stands for a request that is none. */
const UNREADABLE = {}

/** The service with requests that cannot be read handed on: they are a mistake of the caller's, which gRPC would call INTERNAL. */
export function readingAll<Definition extends ServiceDefinition>(service: Definition): Definition {
  const methods = Object.entries(service).map(([name, method]) => {
    const requestDeserialize = (bytes: Buffer): unknown => {
      try {
        return method.requestDeserialize(bytes)
      } catch {
        return UNREADABLE
      }
    }
    return [name, { ...method, requestDeserialize }]
  })
  return Object.fromEntries(methods) as Definition
}

async function serve(
  context: CallContext,
  method: string,
  handler: Method<Request, object>,
  call: ServerUnaryCall<Request, object>,
  reply: sendUnaryData<object>,
): Promise<void> {
  const started = performance.now()
  const { gate, metrics } = context
  gate.underWay++
  metrics.rpcsInFlight.inc({ method })
  const limits = limitsOf(call, gate)
  let code: number = Status.OK
  let failure: StratumError | undefined
  try {
    if (gate.draining) throw new StratumError('unavailable', 'the plugin is stopping; the call can be repeated')
    if (call.request === UNREADABLE) throw new StratumError('usage', 'the request cannot be read')
    checkSizes(call.request)
    const log = context.log.child({ method })
    const response = await withVolume(context.locks, call.request, limits.signal, () =>
      handler(call.request, { method, signal: limits.signal, log }),
    )
    reply(null, response)
  } catch (error) {
    failure = explain(error, limits.signal, method)
    code = grpcCode(failure)
    reply(statusOf(failure, code))
  } finally {
    limits.end()
    gate.underWay--
    if (gate.underWay === 0) gate.idle?.()
    freeMemoryWhenQuiet()
    metrics.rpcsInFlight.dec({ method })
    metrics.rpcSeconds.observe({ method, code: Status[code] }, (performance.now() - started) / 1000)
    logCall(context.log, { method, request: call.request, code, failure, milliseconds: performance.now() - started })
  }
}

function limitsOf(
  call: ServerUnaryCall<Request, object>,
  { stopping }: CallGate,
): { signal: AbortSignal; end(): void } {
  const controller = new AbortController()
  const abort = (): void => controller.abort(new StratumError('interrupted', 'the caller gave up'))
  const deadline = Number(call.getDeadline())
  const milliseconds = Number.isFinite(deadline) ? deadline - Date.now() : DEFAULT_LIMIT_MS
  const timer = setTimeout(
    () => controller.abort(new StratumError('timeout', 'the deadline passed')),
    Math.max(0, Math.min(milliseconds, DEFAULT_LIMIT_MS)),
  )
  call.on('cancelled', abort)
  stopping.signal.addEventListener('abort', abort, { once: true })
  return {
    signal: controller.signal,
    end() {
      clearTimeout(timer)
      stopping.signal.removeEventListener('abort', abort)
    },
  }
}

/** An abort has the reason of who aborted; everything else is what it says. */
function explain(error: unknown, signal: AbortSignal, method: string): StratumError {
  if (signal.aborted && (error as Error)?.name === 'AbortError' && signal.reason instanceof StratumError)
    return signal.reason
  return toStratumError(error, method)
}

function grpcCode({ code }: StratumError): number {
  return ERROR_TABLE[code].grpc
}

/** The message is for people: what, who holds it, what to do (CSI specification, "Error Scheme": details stay empty). */
function statusOf(error: StratumError, code: number): Partial<ServiceError> {
  return {
    code,
    details: error.hint === undefined ? error.message : `${error.message}. ${error.hint}`,
    metadata: undefined as unknown as Metadata,
  }
}

interface LoggedCall {
  readonly method: string
  readonly request: Request
  readonly code: number
  readonly failure: StratumError | undefined
  readonly milliseconds: number
}

function logCall(log: Logger, { method, request, code, failure, milliseconds }: LoggedCall): void {
  const fields = Object.fromEntries(
    LOGGED.flatMap(key => (request[key] === undefined || request[key] === '' ? [] : [[key, request[key]]])),
  )
  const line = {
    method,
    ...fields,
    code: Status[code],
    ms: Math.round(milliseconds * 10) / 10,
    ...(failure === undefined ? {} : { error: failure.message }),
  }
  if (failure === undefined) log.info(line, 'call')
  else if (code === Status.INTERNAL)
    log.error({ ...line, stack: (failure.cause as Error | undefined)?.stack ?? failure.stack }, 'call')
  else log.warn(line, 'call')
}
