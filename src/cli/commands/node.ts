import { StratumError } from '../../errors/stratum-error.ts'
import { runFolder } from '../../mounts/records.ts'
import { toUser } from '../../names/text.ts'
import type { LogLevel } from '../../telemetry/log.ts'
import { absolute, type Command, openContext } from '../invocation.ts'

interface Options {
  readonly endpoint: string
  readonly nodeId: string
  readonly driverName: string
  readonly kubeletDir?: string
  readonly anyTarget: boolean
  readonly registrationDir?: string
  readonly http?: string
  readonly cluster: boolean
  /** Minutes. */
  readonly gcInterval: number
  /** Days. */
  readonly scrubPeriod: number
  readonly logLevel: LogLevel
}

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** A driver's name is a domain name (CSI specification, GetPluginInfo); it is in the names of files and in topologies. */
const DRIVER_NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/
/** The node's name is a value of a topology. */
const NODE_ID = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/

export const run: Command<Options> = async invocation => {
  const { options, signal } = invocation
  const { endpoint, nodeId, driverName, anyTarget, registrationDir, http, cluster, logLevel } = options
  if (!DRIVER_NAME.test(driverName))
    throw new StratumError(
      'usage',
      `--driver-name ${JSON.stringify(driverName)} is no domain name of at most 63 characters`,
    )
  if (!NODE_ID.test(nodeId))
    throw new StratumError('usage', `--node-id ${JSON.stringify(nodeId)} is no name of a node of at most 63 characters`)
  const { store } = await openContext(invocation, { create: true })
  const { runNode } = await import('../../daemons/node.ts')
  const { createLogger } = await import('../../telemetry/log.ts')
  const log = createLogger({ level: logLevel, component: 'node' })
  const kubeletDir = options.kubeletDir === undefined ? undefined : absolute(options.kubeletDir)
  const headsDir =
    kubeletDir === undefined ? `${runFolder()}/heads/${driverName}` : `${kubeletDir}/plugins/${driverName}-heads`
  await runNode(
    {
      store,
      driver: { name: driverName, nodeId, kubeletDir: anyTarget ? undefined : kubeletDir, headsDir },
      endpoint,
      registrationDir,
      http,
      cluster,
      log,
      collectEveryMs: options.gcInterval * MINUTE_MS,
      scrubPeriodMs: options.scrubPeriod * DAY_MS,
    },
    signal,
  )
  return { json: { store: toUser(store.path) } }
}
