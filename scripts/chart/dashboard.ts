/** The Grafana dashboard of the chart, from the table below: what is asked and how it is shown. Grafana's own JSON is the table and 40 lines a panel. */

type Unit = 'short' | 's' | 'bytes' | 'percentunit' | 'Bps' | 'ops' | 'none'

interface Panel {
  readonly title: string
  readonly help?: string
  readonly unit: Unit
  /** Legend (Grafana's notation) and query. */
  readonly queries: readonly (readonly [legend: string, query: string])[]
  readonly kind?: 'timeseries' | 'stat'
}

interface Row {
  readonly title: string
  readonly panels: readonly Panel[]
}

const NODE = 'node=~"$node"'
const quantile = (q: number, metric: string, selector: string, by = 'le'): string =>
  `histogram_quantile(${q}, sum by (${by}) (rate(${metric}_bucket{${selector}}[$__rate_interval])))`
const PUBLISH = `method="Node/NodePublishVolume", ${NODE}`

const ROWS: readonly Row[] = [
  {
    title: 'Health',
    panels: [
      {
        title: 'Nodes without plugin',
        unit: 'none',
        kind: 'stat',
        queries: [
          ['', 'count(up{job="stratum", component="node"} == 0) or sum(up{job="stratum", component="node"} * 0)'],
        ],
      },
      {
        title: 'Plugins that kubelet does not know',
        unit: 'none',
        kind: 'stat',
        queries: [['', 'sum(stratum_registered == bool 0)']],
      },
      {
        title: 'Leaders',
        help: 'One is right.',
        unit: 'none',
        kind: 'stat',
        queries: [['', 'sum(stratum_leader)']],
      },
      {
        title: 'Damage found in the last day',
        unit: 'none',
        kind: 'stat',
        queries: [
          [
            '',
            'sum(max_over_time(stratum_scrub_findings_total{severity="damage"}[1d])) or sum(stratum_registered * 0)',
          ],
        ],
      },
      {
        title: 'HEADs on nodes that are gone',
        unit: 'none',
        kind: 'stat',
        queries: [['', 'max(stratum_holders_lost)']],
      },
      {
        title: 'Versions',
        unit: 'none',
        kind: 'stat',
        queries: [['{{version}}', 'count by (version) (stratum_build_info)']],
      },
    ],
  },
  {
    title: 'Volumes',
    panels: [
      {
        title: 'Targets mounted',
        unit: 'none',
        queries: [
          ['{{kind}}', `sum by (kind) (stratum_published_targets{${NODE}})`],
          ['of pods that are gone', `sum(stratum_orphaned_targets{${NODE}})`],
        ],
      },
      {
        title: 'Time to mount',
        unit: 's',
        queries: [
          ['p50', quantile(0.5, 'stratum_csi_rpc_duration_seconds', PUBLISH)],
          ['p99', quantile(0.99, 'stratum_csi_rpc_duration_seconds', PUBLISH)],
        ],
      },
      {
        title: 'CSI calls that failed',
        unit: 'ops',
        queries: [
          [
            '{{method}} {{code}}',
            `sum by (method, code) (rate(stratum_csi_rpc_duration_seconds_count{code!="OK", ${NODE}}[$__rate_interval]))`,
          ],
        ],
      },
      {
        title: 'CSI calls under way',
        unit: 'none',
        queries: [['{{method}}', `sum by (method) (stratum_csi_rpcs_in_flight{${NODE}})`]],
      },
    ],
  },
  {
    title: 'Commits',
    panels: [
      {
        title: 'Commits',
        unit: 'ops',
        queries: [
          [
            '{{consistency}} {{result}}',
            `sum by (consistency, result) (rate(stratum_commit_duration_seconds_count{${NODE}}[$__rate_interval]))`,
          ],
        ],
      },
      {
        title: 'Time of a commit',
        unit: 's',
        queries: [
          ['p50', quantile(0.5, 'stratum_commit_duration_seconds', NODE)],
          ['p99', quantile(0.99, 'stratum_commit_duration_seconds', NODE)],
        ],
      },
      {
        title: 'Pause of the writers',
        help: 'Up to 1 s leaves no trace in probes.',
        unit: 's',
        queries: [
          ['p50', quantile(0.5, 'stratum_commit_pause_seconds', NODE)],
          ['p99', quantile(0.99, 'stratum_commit_pause_seconds', NODE)],
        ],
      },
      {
        title: 'Bytes found changed by commits',
        unit: 'Bps',
        queries: [['{{node}}', `sum by (node) (rate(stratum_commit_bytes_total{${NODE}}[$__rate_interval]))`]],
      },
      {
        title: 'Files found changed',
        unit: 'ops',
        queries: [['{{node}}', `sum by (node) (rate(stratum_commit_files_total{${NODE}}[$__rate_interval]))`]],
      },
      {
        title: 'From kubectl apply to Ready',
        unit: 's',
        queries: [
          ['p50', quantile(0.5, 'stratum_request_seconds', 'result="ok"')],
          ['p99', quantile(0.99, 'stratum_request_seconds', 'result="ok"')],
        ],
      },
    ],
  },
  {
    title: 'Stores',
    panels: [
      {
        title: 'Space used',
        unit: 'percentunit',
        queries: [
          [
            '{{node}}',
            `1 - stratum_store_file_system_bytes{kind="available", ${NODE}} / ignoring(kind) stratum_store_file_system_bytes{kind="size", ${NODE}}`,
          ],
        ],
      },
      {
        title: 'Inodes used',
        unit: 'percentunit',
        queries: [
          [
            '{{node}}',
            `1 - stratum_store_file_system_inodes{kind="available", ${NODE}} / ignoring(kind) stratum_store_file_system_inodes{kind="size", ${NODE}}`,
          ],
        ],
      },
      {
        title: 'Freed by garbage collection',
        unit: 'Bps',
        queries: [['{{node}}', `sum by (node) (rate(stratum_gc_freed_bytes_total{${NODE}}[$__rate_interval]))`]],
      },
      {
        title: 'Since the last garbage collection',
        unit: 's',
        queries: [['{{node}}', `time() - max by (node) (stratum_gc_last_success_timestamp_seconds{${NODE}} > 0)`]],
      },
      {
        title: 'Scrubbed',
        unit: 'Bps',
        queries: [['{{node}}', `sum by (node) (rate(stratum_scrubbed_bytes_total{${NODE}}[$__rate_interval]))`]],
      },
      {
        title: 'Folds',
        unit: 'ops',
        queries: [['{{result}}', `sum by (result) (rate(stratum_folds_total{${NODE}}[$__rate_interval]))`]],
      },
    ],
  },
  {
    title: 'Control plane',
    panels: [
      {
        title: 'StratumCommits that have not ended',
        unit: 'none',
        queries: [['open', 'max(stratum_requests_open)']],
      },
      { title: 'The oldest of them', unit: 's', queries: [['age', 'max(stratum_request_oldest_seconds)']] },
      {
        title: 'Requests to the API server',
        unit: 'ops',
        queries: [
          [
            '{{component}} {{verb}} {{code}}',
            'sum by (component, verb, code) (rate(stratum_api_requests_total[$__rate_interval]))',
          ],
        ],
      },
      {
        title: 'Work queues',
        unit: 'none',
        queries: [['{{component}} {{queue}}', 'sum by (component, queue) (stratum_workqueue_depth)']],
      },
      {
        title: 'Work on an object, p99',
        unit: 's',
        queries: [
          [
            '{{component}} {{queue}}',
            quantile(0.99, 'stratum_workqueue_work_seconds', 'job="stratum"', 'component, queue, le'),
          ],
        ],
      },
      {
        title: 'Watches broken, lists read anew',
        unit: 'ops',
        queries: [
          ['watch {{reason}}', 'sum by (reason) (rate(stratum_watch_reconnects_total[$__rate_interval]))'],
          ['list', 'sum(rate(stratum_relists_total[$__rate_interval]))'],
        ],
      },
    ],
  },
  {
    title: 'Processes',
    panels: [
      {
        title: 'Memory',
        unit: 'bytes',
        queries: [['{{component}} {{node}}', 'stratum_process_resident_memory_bytes']],
      },
      {
        title: 'Processor',
        unit: 'short',
        queries: [['{{component}} {{node}}', 'rate(stratum_process_cpu_seconds_total[$__rate_interval])']],
      },
      {
        title: 'Event loop lag, p99',
        unit: 's',
        queries: [['{{component}} {{node}}', 'stratum_nodejs_eventloop_lag_p99_seconds']],
      },
      {
        title: 'Time from start to ready',
        unit: 's',
        queries: [['{{node}}', `stratum_recovery_duration_seconds{${NODE}}`]],
      },
      {
        title: 'Open files',
        unit: 'none',
        queries: [['{{component}} {{node}}', 'stratum_process_open_fds']],
      },
    ],
  },
]

const COLUMNS = 3
const WIDTH = 24 / COLUMNS
const HEIGHTS = { timeseries: 8, stat: 4 } as const
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' }

/** The dashboard as Grafana imports it. */
export function dashboard(): object {
  return {
    title: 'Stratum',
    uid: 'stratum',
    tags: ['stratum', 'storage'],
    schemaVersion: 39,
    editable: true,
    refresh: '1m',
    time: { from: 'now-6h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        {
          name: 'node',
          label: 'Node',
          type: 'query',
          datasource: DATASOURCE,
          query: 'label_values(stratum_build_info{component="node"}, node)',
          refresh: 2,
          includeAll: true,
          multi: true,
          allValue: '.*',
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels: panels(),
  }
}

/** Every query of the dashboard. */
export function dashboardQueries(): string[] {
  return ROWS.flatMap(row => row.panels.flatMap(panel => panel.queries.map(([, query]) => query)))
}

function panels(): object[] {
  const result: object[] = []
  let y = 0
  for (const row of ROWS) {
    result.push({ id: result.length + 1, type: 'row', title: row.title, gridPos: { x: 0, y, w: 24, h: 1 }, panels: [] })
    y++
    for (let at = 0; at < row.panels.length; at += COLUMNS) {
      const line = row.panels.slice(at, at + COLUMNS)
      const height = Math.max(...line.map(({ kind = 'timeseries' }) => HEIGHTS[kind]))
      line.forEach((panel, column) => {
        const gridPos = { x: column * WIDTH, y, w: WIDTH, h: height }
        result.push({ id: result.length + 1, gridPos, ...drawn(panel) })
      })
      y += height
    }
  }
  return result
}

function drawn({ title, help, unit, queries, kind = 'timeseries' }: Panel): object {
  return {
    type: kind,
    title,
    ...(help === undefined ? {} : { description: help }),
    datasource: DATASOURCE,
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: queries.map(([legendFormat, expr], index) => ({
      refId: String.fromCodePoint(65 + index),
      datasource: DATASOURCE,
      expr,
      legendFormat,
      ...(kind === 'stat' ? { instant: true } : {}),
    })),
  }
}
