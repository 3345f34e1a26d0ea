import { createControllerMetrics, createMetrics } from '../../src/telemetry/metrics.ts'

/** What Prometheus adds to every series: PodMonitor's relabelings, and its own. */
const TARGET_LABELS = ['job', 'instance', 'component', 'node', 'namespace', 'pod']
/** What is not ours. */
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  up: [],
  ALERTS: ['alertname', 'alertstate', 'severity'],
  kube_daemonset_status_number_unavailable: ['daemonset'],
  container_memory_working_set_bytes: ['container'],
}

interface Declared {
  readonly name: string
  readonly type: unknown
  readonly labelNames?: readonly string[]
}

/** Every time series that a scrape of ours can have, with its labels; those of histograms with their suffixes. */
export function knownSeries(): Map<string, ReadonlySet<string>> {
  const series = new Map<string, ReadonlySet<string>>()
  for (const [name, labels] of Object.entries(FOREIGN)) series.set(name, new Set([...labels, ...TARGET_LABELS]))
  for (const { registry } of [createMetrics(), createControllerMetrics()])
    for (const { name, type, labelNames = [] } of registry.getMetricsAsArray() as unknown as Declared[]) {
      const labels = new Set([...labelNames, ...TARGET_LABELS])
      series.set(name, labels)
      if (type !== 'histogram') continue
      series.set(`${name}_bucket`, new Set([...labels, 'le']))
      series.set(`${name}_sum`, labels)
      series.set(`${name}_count`, labels)
    }
  return series
}

const WORDS = new Set(
  (
    'sum by on ignoring or and unless rate increase max min avg count absent time histogram_quantile max_over_time predict_linear ' +
    'label_values topk bool offset clamp_min group_left'
  ).split(' '),
)

/** What is wrong with a query: a name that no series has, a label that the series does not have. Grafana's variables are left out. */
export function faultsOf(query: string, known = knownSeries()): string[] {
  const faults: string[] = []
  const text = query.replaceAll(/\$__\w+|\$\w+/g, '5m')
  for (const [, name, selector = ''] of text.matchAll(/\b([a-zA-Z_]\w*)\s*(?:\{([^}]*)\})?/g)) {
    const labels = known.get(name)
    if (labels === undefined) {
      if (name.startsWith('stratum_') || selector !== '') faults.push(`no series is called ${name}`)
      continue
    }
    for (const [, label] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
      if (!labels.has(label)) faults.push(`${name} has no label ${label}`)
  }
  const everyLabel = new Set([...known.values()].flatMap(labels => [...labels]))
  for (const [, list] of text.matchAll(/\b(?:by|on|ignoring)\s*\(([^)]*)\)/g))
    for (const label of list.split(',').map(label => label.trim()))
      if (label !== '' && !everyLabel.has(label)) faults.push(`nothing has a label ${label}`)
  for (const [, word] of text.replaceAll(/"[^"]*"|\{[^}]*\}|\([^()]*\)/g, ' ').matchAll(/\b([a-z]\w+)\b/g))
    if (!WORDS.has(word) && !known.has(word) && !/^\d/.test(word) && !faults.some(fault => fault.includes(word)))
      faults.push(`${word} is unknown`)
  return faults
}
