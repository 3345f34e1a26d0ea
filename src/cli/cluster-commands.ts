import { type CommandSpec, option } from './program.ts'

const LOG_LEVELS = ['debug', 'info', 'warn', 'error']

export const CONTROLLER: CommandSpec = {
  name: 'controller',
  group: 'Kubernetes',
  summary: 'watch over StratumCommits and StratumLabels of a cluster',
  options: () => [
    option('--http <address>', 'serve /healthz, /readyz and /metrics at host:port or :port'),
    option('--namespace <name>', "where Stratum is installed; the pod's own if it is left away"),
    option('--leader-election-name <name>', 'the Lease by which replicas elect the one that works').default(
      'stratum-controller',
    ),
    option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'),
  ],
  help: `Runs in a pod until SIGTERM: answers StratumCommits whose label no node holds, ends those whose time is up, deletes them after
their TTL, sends restored and cloned claims to the node of their source. Logs are JSON lines on stderr.`,
  load: () => import('./commands/controller.ts'),
}
