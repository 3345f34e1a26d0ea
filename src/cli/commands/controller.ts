import type { LogLevel } from '../../telemetry/log.ts'
import type { Command } from '../invocation.ts'

interface Options {
  readonly http?: string
  readonly namespace?: string
  readonly leaderElectionName: string
  readonly logLevel: LogLevel
}

export const run: Command<Options> = async ({ options, signal }) => {
  const { http, namespace, leaderElectionName, logLevel } = options
  const { runControllerDaemon } = await import('../../daemons/controller.ts')
  const { createLogger } = await import('../../telemetry/log.ts')
  const log = createLogger({ level: logLevel, component: 'controller' })
  await runControllerDaemon({ http, namespace, leaseName: leaderElectionName, log }, signal)
  return { json: {} }
}
