import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { faultsOf } from '../support/metrics.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const RULES = path.join(ROOT, 'charts/stratum/files/alerts.yaml')
const rules = fs.readFileSync(RULES, 'utf8')
const alerts = [...rules.matchAll(/^ {6}- alert: (\w+)$/gm)].map(([, name]) => name)
const promtool = execFileSync('sh', [path.join(ROOT, 'scripts/promtool.sh')], { encoding: 'utf8' }).trim()

interface Case {
  readonly alert: string
  /** Series as a minute's samples in promtool's notation, when it is to fire. */
  readonly firing: Readonly<Record<string, string>>
  /** The same when all is well, or nearly not. */
  readonly quiet: Readonly<Record<string, string>>
  /** Minutes until it fires; a moment before (`for`) it must not. */
  readonly after: number
  /** Labels of the alert, but for its name and severity. */
  readonly labels: Readonly<Record<string, string>>
}

const NODE = { node: 'n1' }
const ON = 'node="n1"'
const PUBLISH = 'method="Node/NodePublishVolume"'
const bytes = (kind: string): string => `stratum_store_file_system_bytes{kind="${kind}",${ON}}`
const inodes = (kind: string): string => `stratum_store_file_system_inodes{kind="${kind}",${ON}}`
const publishes = (code: string): string => `stratum_csi_rpc_duration_seconds_count{${PUBLISH},code="${code}",${ON}}`
const publishBucket = (le: string): string =>
  `stratum_csi_rpc_duration_seconds_bucket{${PUBLISH},code="OK",le="${le}",${ON}}`
const pauseBucket = (le: string): string => `stratum_commit_pause_seconds_bucket{le="${le}",${ON}}`
const instance = 'instance="a:1",node="n1"'

const CASES: readonly Case[] = [
  {
    alert: 'StratumIntegrityError',
    firing: { [`stratum_scrub_findings_total{severity="damage",${ON}}`]: '_x9 1x100' },
    quiet: { [`stratum_scrub_findings_total{severity="leftover",${ON}}`]: '1x100', [publishes('INTERNAL')]: '1x100' },
    after: 11,
    labels: NODE,
  },
  {
    alert: 'StratumHeadUnclean',
    firing: { [`stratum_commit_duration_seconds_count{result="unclean",${ON}}`]: '_x9 1x100' },
    quiet: { [`stratum_commit_duration_seconds_count{result="ok",${ON}}`]: '1x100' },
    after: 11,
    labels: NODE,
  },
  {
    alert: 'StratumHolderLost',
    firing: { 'stratum_holders_lost{pod="a"}': '0x100', 'stratum_holders_lost{pod="b"}': '3x100' },
    quiet: { 'stratum_holders_lost{pod="a"}': '0x100', 'stratum_holders_lost{pod="b"}': '0x100' },
    after: 16,
    labels: {},
  },
  {
    alert: 'StratumStoreFull',
    firing: { [bytes('size')]: '1000x100', [bytes('available')]: '49x100' },
    quiet: { [bytes('size')]: '1000x100', [bytes('available')]: '51x100' },
    after: 6,
    labels: NODE,
  },
  {
    alert: 'StratumStoreFilling',
    firing: { [bytes('size')]: '1000000x300', [bytes('available')]: '900000-2500x300' },
    quiet: { [bytes('size')]: '1000000x300', [bytes('available')]: '900000-1x300' },
    after: 240,
    labels: { ...NODE, kind: 'available' },
  },
  {
    alert: 'StratumStoreInodes',
    firing: { [inodes('size')]: '1000x100', [inodes('available')]: '49x100' },
    quiet: { [inodes('size')]: '1000x100', [inodes('available')]: '51x100' },
    after: 6,
    labels: NODE,
  },
  {
    alert: 'StratumGCStalled',
    firing: {
      [`stratum_gc_last_success_timestamp_seconds{${instance}}`]: '0x1600',
      [`stratum_process_start_time_seconds{${instance}}`]: '0x1600',
    },
    quiet: {
      // a plugin that started eight hours ago and has not come to it yet
      [`stratum_gc_last_success_timestamp_seconds{${instance}}`]: '0x1600',
      [`stratum_process_start_time_seconds{${instance}}`]: '60000x1600',
    },
    after: 1502,
    labels: { instance: 'a:1', ...NODE },
  },
  {
    alert: 'StratumNodePluginDown',
    firing: { [`up{job="stratum",component="node",${ON}}`]: '1x5 0x100' },
    quiet: {
      [`up{job="stratum",component="node",${ON}}`]: '1x5 0x5 1x100',
      [`up{job="other",component="node",${ON}}`]: '0x100',
      'kube_daemonset_status_number_unavailable{daemonset="other-node"}': '1x100',
    },
    after: 17,
    labels: { job: 'stratum', component: 'node', ...NODE },
  },
  {
    alert: 'StratumNotRegistered',
    firing: { [`stratum_registered{${ON}}`]: '0x100' },
    quiet: { [`stratum_registered{${ON}}`]: '0x5 1x100' },
    after: 11,
    labels: NODE,
  },
  {
    alert: 'StratumOrphanedTargets',
    firing: { [`stratum_orphaned_targets{${ON}}`]: '0x5 2x100' },
    quiet: { [`stratum_orphaned_targets{${ON}}`]: '0x5 2x50 0x100' },
    after: 67,
    labels: NODE,
  },
  {
    alert: 'StratumPublishErrors',
    firing: { [publishes('OK')]: '0+9x100', [publishes('INTERNAL')]: '0+1x100' },
    quiet: {
      [publishes('OK')]: '0+96x100',
      [publishes('INTERNAL')]: '0+4x100',
      [publishes('NOT_FOUND')]: '0+50x100',
      [publishes('ABORTED')]: '0+50x100',
    },
    after: 17,
    labels: NODE,
  },
  {
    alert: 'StratumPublishSlow',
    firing: { [publishBucket('30')]: '0x100', [publishBucket('60')]: '0+1x100', [publishBucket('+Inf')]: '0+1x100' },
    quiet: { [publishBucket('30')]: '0+1x100', [publishBucket('60')]: '0+1x100', [publishBucket('+Inf')]: '0+1x100' },
    after: 17,
    labels: NODE,
  },
  {
    alert: 'StratumCommitErrors',
    firing: { [`stratum_commit_duration_seconds_count{result="internal",${ON}}`]: '0+1x100' },
    quiet: { [`stratum_commit_duration_seconds_count{result="conflict",${ON}}`]: '0+1x100' },
    after: 17,
    labels: { ...NODE, result: 'internal' },
  },
  {
    alert: 'StratumCommitPauseLong',
    firing: { [pauseBucket('1')]: '0x100', [pauseBucket('2.5')]: '0+1x100', [pauseBucket('+Inf')]: '0+1x100' },
    quiet: { [pauseBucket('0.1')]: '0+1x100', [pauseBucket('1')]: '0+1x100', [pauseBucket('+Inf')]: '0+1x100' },
    after: 32,
    labels: NODE,
  },
  {
    alert: 'StratumRequestsStuck',
    firing: { stratum_request_oldest_seconds: '0+60x100' },
    quiet: { stratum_request_oldest_seconds: '600x100' },
    after: 47,
    labels: {},
  },
  {
    alert: 'StratumSnapshotsUnmanaged',
    firing: { stratum_snapshot_contents_unmanaged: '1x100' },
    quiet: { stratum_snapshot_contents_unmanaged: '0x100' },
    after: 16,
    labels: {},
  },
  {
    alert: 'StratumNoLeader',
    firing: { 'stratum_leader{pod="a"}': '1x100', 'stratum_leader{pod="b"}': '1x100' },
    quiet: { 'stratum_leader{pod="a"}': '1x100', 'stratum_leader{pod="b"}': '0x100' },
    after: 6,
    labels: {},
  },
  {
    alert: 'StratumWatchFlapping',
    firing: { [`stratum_watch_reconnects_total{component="node",reason="eof",${instance}}`]: '0+7x100' },
    quiet: { [`stratum_watch_reconnects_total{component="node",reason="eof",${instance}}`]: '0+5x100' },
    after: 32,
    labels: { component: 'node', instance: 'a:1', ...NODE },
  },
]

test('every alert has a case here, and no case is left over', () => {
  assert.deepEqual(CASES.map(({ alert }) => alert).sort(), [...alerts].sort())
})

test('every alert fires when it is to, not earlier, and not when all is well', () => {
  const severity = (alert: string): string =>
    /severity: (\w+)/.exec(rules.slice(rules.indexOf(`alert: ${alert}\n`)))![1]
  const tests = CASES.flatMap(({ alert, firing, quiet, after, labels }) => {
    const expr = `ALERTS{alertname="${alert}", alertstate="firing"}`
    const all = { ...labels, severity: severity(alert), alertname: alert, alertstate: 'firing' }
    const shown = Object.entries(all).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    const at = (minutes: number, samples: object[]): object => ({
      expr,
      eval_time: `${minutes}m`,
      exp_samples: samples,
    })
    return [
      rulesTest(`${alert} fires`, firing, [at(after, [{ labels: `ALERTS{${shown.join(',')}}`, value: 1 }])]),
      rulesTest(`${alert} not at once`, firing, [at(1, [])]),
      rulesTest(`${alert} quiet`, quiet, [at(after, []), at(Math.floor(after / 2), [])]),
    ]
  })
  runPromtool(tests)
})

test('what an alert says is filled in', () => {
  const noLeader = {
    eval_time: '6m',
    alertname: 'StratumStoreFull',
    exp_alerts: [
      {
        exp_labels: { severity: 'critical', node: 'n1' },
        exp_annotations: {
          summary: 'The store of node n1 is full',
          description: '4.9% are left. Writes to HEADs and commits will fail with no space.',
        },
      },
    ],
  }
  const series = { [bytes('size')]: '1000x100', [bytes('available')]: '49x100' }
  runPromtool([{ ...rulesTest('full', series, []), alert_rule_test: [noLeader] }])
})

test('damage that a mount finds is noticed like that of the scrub', () => {
  const labels = 'ALERTS{alertname="StratumIntegrityError",alertstate="firing",severity="critical",node="n1"}'
  const expr = 'ALERTS{alertname="StratumIntegrityError", alertstate="firing"}'
  const fires = { expr, eval_time: '15m', exp_samples: [{ labels, value: 1 }] }
  runPromtool([rulesTest('mount', { [publishes('DATA_LOSS')]: '_x9 1x100' }, [fires])])
})

test('no leader at all is noticed too, and a DaemonSet whose pods never started', () => {
  const unavailable = { 'kube_daemonset_status_number_unavailable{daemonset="a-stratum-node"}': '1x100' }
  const fires = (alert: string, labels: string): object => ({
    expr: `ALERTS{alertname="${alert}", alertstate="firing"}`,
    eval_time: '15m',
    exp_samples: [
      { labels: `ALERTS{alertname="${alert}",alertstate="firing",severity="critical"${labels}}`, value: 1 },
    ],
  })
  runPromtool([
    rulesTest('none', { up: '1x100' }, [fires('StratumNoLeader', '')]),
    rulesTest('unavailable', unavailable, [fires('StratumNodePluginDown', ',daemonset="a-stratum-node"')]),
  ])
})

test('every series and label that an alert names exists', () => {
  const expressions = [...rules.matchAll(/^ {8}expr:(?: >-)?((?:.|\n {10})*)/gm)].map(([, text]) => text.trim())
  assert.equal(expressions.length, alerts.length)
  assert.deepEqual(
    expressions.flatMap(expression => faultsOf(expression)),
    [],
  )
  assert.deepEqual(faultsOf('sum by (nod) (rate(stratum_gone_total{node="a"}[5m]))'), [
    'no series is called stratum_gone_total',
    'nothing has a label nod',
  ])
  assert.deepEqual(faultsOf('stratum_leader{code="a"}'), ['stratum_leader has no label code'])
})

test('every alert has a runbook that says what it means and what to do', () => {
  const runbooks = fs.readFileSync(path.join(ROOT, 'docs/kubernetes/runbooks.md'), 'utf8')
  const sections = new Map(runbooks.split(/^## /m).map(text => [text.slice(0, text.indexOf('\n')), text]))
  for (const alert of alerts) {
    assert.match(
      sections.get(alert) ?? '',
      /\*\*Means\*\*[^]*\*\*Do\*\*/,
      `docs/kubernetes/runbooks.md has no section ${alert}`,
    )
  }
  const others = [...sections.keys()].filter(title => title.startsWith('Stratum') && !alerts.includes(title))
  assert.deepEqual(others, [])
})

function rulesTest(name: string, series: Readonly<Record<string, string>>, expected: readonly object[]): object {
  const input = Object.entries(series).map(([labels, values]) => ({ series: labels, values }))
  return { name, interval: '1m', input_series: input, promql_expr_test: expected }
}

/** JSON is YAML. */
function runPromtool(tests: readonly object[]): void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'alerts-'))
  const file = path.join(folder, 'test.yaml')
  fs.writeFileSync(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: '1m', tests }))
  execFileSync(promtool, ['test', 'rules', file], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
}
