import assert from 'node:assert/strict'
import { test } from 'node:test'
import { find, type Manifest, MONITORING, render, renderText, SNAPSHOTS } from '../../support/chart.ts'

/** What the chart makes of its values. Needs Helm, and no cluster. */

const ALL = {
  values: { monitoring: { dashboard: { enabled: true } }, networkPolicy: { enabled: true } },
  apis: [SNAPSHOTS, MONITORING],
}
const objects = render(ALL)
const daemonset = find(objects, 'DaemonSet')
const deployment = find(objects, 'Deployment')
const pods = objects.flatMap(object => podSpecOf(object) ?? [])
const container = (spec: Manifest, name: string): Manifest =>
  spec.template.spec.containers.find((one: Manifest) => one.name === name)

test('every object carries the labels that name release and component, and what is namespaced lies in the release', () => {
  const clusterWide =
    /^(ClusterRole|ClusterRoleBinding|CSIDriver|StorageClass|VolumeSnapshotClass|CustomResourceDefinition|ValidatingAdmission.*)$/
  for (const { kind, metadata } of objects) {
    const name = `${kind} ${metadata.name}`
    assert.equal(metadata.labels['app.kubernetes.io/name'], 'stratum', name)
    assert.equal(metadata.labels['app.kubernetes.io/instance'], 'stratum', name)
    assert.equal(metadata.labels['app.kubernetes.io/version'], '0.1.0', name)
    assert.equal(metadata.namespace, clusterWide.test(kind) ? undefined : 'stratum-system', name)
  }
})

test('no two objects have one name', () => {
  const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
  assert.deepEqual(names.sort(), [...new Set(names)].sort())
})

test('the plugin sees store and kubelet where the host has them, and gives its mounts to the host', () => {
  const plugin = container(daemonset.spec, 'stratum')
  assert.deepEqual(plugin.args, [
    'node',
    '--endpoint=unix:///var/lib/kubelet/plugins/stratum.csi.dev/csi.sock',
    '--node-id=$(NODE_NAME)',
    '--kubelet-dir=/var/lib/kubelet',
    '--registration-dir=/var/lib/kubelet/plugins_registry',
    '--http=:9809',
    '--cluster',
  ])
  const paths = new Map(
    daemonset.spec.template.spec.volumes.map((volume: Manifest) => [volume.name, volume.hostPath?.path]),
  )
  for (const { name, mountPath, mountPropagation } of plugin.volumeMounts) {
    if (name !== 'tmp') assert.equal(mountPath, paths.get(name), name)
    assert.equal(mountPropagation === 'Bidirectional', name === 'kubelet', name)
  }
  assert.equal(plugin.securityContext.privileged, true)
  assert.equal(daemonset.spec.template.spec.hostPID, true)
  assert.ok(!('hostNetwork' in daemonset.spec.template.spec))
})

test('other folders for kubelet and store reach every place', () => {
  const text = renderText({ values: { kubeletDir: '/var/lib/k0s/kubelet', storePath: '/data/stratum' } })
  assert.doesNotMatch(text, /\/var\/lib\/(kubelet|stratum)/)
  assert.match(text, /--endpoint=unix:\/\/\/var\/lib\/k0s\/kubelet\/plugins\/stratum\.csi\.dev\/csi\.sock/)
  assert.match(text, /STRATUM_STORE, value: "\/data\/stratum"/)
})

test('the sidecars work for their own node alone, and name the claims that they work for', () => {
  for (const [name, flags] of [
    ['provisioner', ['--node-deployment', '--extra-create-metadata', '--enable-capacity', '--strict-topology']],
    ['snapshotter', ['--node-deployment', '--extra-create-metadata']],
  ] as const) {
    const { args, env } = container(daemonset.spec, name)
    for (const flag of flags) assert.ok(args.includes(flag), `${name} ${flag}`)
    const node = env.find((one: Manifest) => one.name === 'NODE_NAME')
    assert.equal(node.valueFrom.fieldRef.fieldPath, 'spec.nodeName')
  }
})

test('every container but the plugin is as restricted as Kubernetes can ask for, and has a limit of memory', () => {
  for (const { name, spec } of pods)
    for (const one of spec.containers) {
      const what = `${name} ${one.name}`
      assert.ok(one.resources.limits.memory, what)
      assert.ok(one.resources.requests.cpu && !one.resources.limits.cpu, what)
      assert.equal(one.securityContext.readOnlyRootFilesystem, true, what)
      if (one.securityContext.privileged) continue
      assert.equal(one.securityContext.allowPrivilegeEscalation, false, what)
      assert.deepEqual(one.securityContext.capabilities, { drop: ['ALL'] }, what)
      assert.equal(one.securityContext.seccompProfile.type, 'RuntimeDefault', what)
      const root = one.securityContext.runAsUser === 0 // the socket is root's
      assert.equal(root, ['provisioner', 'snapshotter'].includes(one.name), what)
      if (!root) assert.equal(spec.securityContext.runAsNonRoot, true, what)
    }
  const privileged = pods
    .flatMap(({ spec }) => spec.containers)
    .filter((one: Manifest) => one.securityContext.privileged)
  assert.deepEqual(
    privileged.map((one: Manifest) => one.name),
    ['stratum'],
  )
})

test('the node survives pressure and taints; its pods are replaced a tenth at a time', () => {
  const { priorityClassName, tolerations } = daemonset.spec.template.spec
  assert.equal(priorityClassName, 'system-node-critical')
  assert.deepEqual(tolerations, [{ operator: 'Exists' }])
  assert.deepEqual(daemonset.spec.updateStrategy, { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } })
})

test('two controllers avoid each other, one of them may be evicted at a time, and they run on nodes that wait for Stratum', () => {
  assert.equal(deployment.spec.replicas, 2)
  const [term] = deployment.spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution
  assert.deepEqual(term.podAffinityTerm.labelSelector.matchLabels, deployment.spec.selector.matchLabels)
  assert.equal(find(objects, 'PodDisruptionBudget').spec.maxUnavailable, 1)
  const keys = deployment.spec.template.spec.tolerations.map((one: Manifest) => one.key)
  assert.ok(keys.includes('stratum.csi.dev/not-ready'))
  const args = container(deployment.spec, 'stratum').args
  assert.deepEqual(args, [
    'controller',
    '--http=:9810',
    '--namespace=$(NAMESPACE)',
    '--leader-election-name=stratum-controller',
  ])
  assert.ok(!render({ values: { controller: { replicas: 1 } } }).some(({ kind }) => kind === 'PodDisruptionBudget'))
})

test('selectors never change with what an upgrade changes, and select one component each', () => {
  const other = render({
    ...ALL,
    values: { commonLabels: { team: 'x' }, node: { podLabels: { a: 'b' } }, image: { tag: '9' } },
  })
  for (const kind of ['DaemonSet', 'Deployment']) {
    const { spec } = find(other, kind)
    assert.deepEqual(spec.selector, find(objects, kind).spec.selector)
    assert.equal(spec.template.metadata.labels.team, 'x')
    for (const [key, value] of Object.entries(spec.selector.matchLabels))
      assert.equal(spec.template.metadata.labels[key], value)
  }
  assert.notDeepEqual(daemonset.spec.selector, deployment.spec.selector)
})

test('the CSIDriver says what the driver does; none of its fields is a value', () => {
  assert.deepEqual(find(objects, 'CSIDriver').spec, {
    attachRequired: false,
    podInfoOnMount: true,
    fsGroupPolicy: 'None',
    seLinuxMount: true,
    storageCapacity: true,
    requiresRepublish: false,
    volumeLifecycleModes: ['Persistent', 'Ephemeral'],
  })
  assert.equal(find(render({ release: 'other' }), 'CSIDriver').metadata.name, 'stratum.csi.dev')
})

test('StorageClasses bind where the pod runs; what is named may be provisioned by nodes', () => {
  const storageClasses = [
    { name: 'fast', default: true, reclaimPolicy: 'Retain', parameters: { uid: '1000', onDelete: 'Label' } },
    { name: 'plain' },
  ]
  const made = render({ values: { storageClasses, rbac: { extraStorageClasses: ['by-hand'] } } })
  const fast = find(made, 'StorageClass', 'fast')
  assert.equal(fast.metadata.annotations['storageclass.kubernetes.io/is-default-class'], 'true')
  assert.deepEqual(
    [fast.provisioner, fast.reclaimPolicy, fast.volumeBindingMode, fast.parameters],
    ['stratum.csi.dev', 'Retain', 'WaitForFirstConsumer', { uid: '1000', onDelete: 'Label' }],
  )
  assert.equal(find(made, 'StorageClass', 'plain').metadata.annotations, undefined)
  const provision = find(made, 'ClusterRole', 'stratum-node').rules.find((rule: Manifest) =>
    rule.verbs.includes('provision'),
  )
  assert.deepEqual([...provision.resourceNames].sort(), ['by-hand', 'fast', 'plain'])
})

test('what needs kinds of others is there where the cluster knows them, or where it is asked for', () => {
  const kinds = (options: object): string[] => [
    ...new Set(
      render(options)
        .map(({ kind }) => kind)
        .filter(kind => /PodMonitor|PrometheusRule|VolumeSnapshotClass/.test(kind)),
    ),
  ]
  assert.deepEqual(kinds({}), [])
  assert.deepEqual(kinds({ apis: [SNAPSHOTS] }), ['VolumeSnapshotClass'])
  assert.deepEqual(kinds({ values: { monitoring: { podMonitor: { enabled: true } } } }), ['PodMonitor'])
  assert.deepEqual(
    kinds({ ...ALL, values: { snapshotter: { enabled: false }, monitoring: { prometheusRule: { enabled: false } } } }),
    ['PodMonitor'],
  )
  assert.equal(container(find(render(), 'DaemonSet').spec, 'snapshotter'), undefined)
})

test('alerts point to their runbook where there is one, and single ones can be left out', () => {
  const of = (prometheusRule: object): Manifest[] =>
    find(
      render({ values: { monitoring: { prometheusRule: { enabled: true, ...prometheusRule } } } }),
      'PrometheusRule',
    ).spec.groups.flatMap((group: Manifest) => group.rules)
  const all = of({ runbookUrl: 'https://example.com/runbooks.md' })
  const full = all.find(rule => rule.alert === 'StratumStoreFull')!
  assert.equal(full.annotations.runbook_url, 'https://example.com/runbooks.md#stratumstorefull')
  assert.match(full.annotations.summary, /\{\{ \$labels\.node \}\}/, 'Prometheus fills this in, not Helm')
  const fewer = of({ disabled: ['StratumStoreFull', 'StratumNoLeader', 'StratumWatchFlapping'] }) // the last two are a whole group
  assert.equal(fewer.length, all.length - 3)
  assert.equal(fewer[0].annotations.runbook_url, undefined)
  assert.throws(
    () => of({ disabled: ['StratumNone'] }),
    /there is no alert StratumNone; there are StratumIntegrityError/,
  )
})

test('an image is named by its digest where there is one', () => {
  const digest = `sha256:${'a'.repeat(64)}`
  const values = {
    image: { repository: 'r.example:5000/a/stratum', tag: 'v9', digest },
    provisioner: { image: { digest } },
  }
  const { spec } = find(render({ values }), 'DaemonSet')
  assert.equal(container(spec, 'stratum').image, `r.example:5000/a/stratum@${digest}`)
  assert.equal(container(spec, 'provisioner').image, `registry.k8s.io/sig-storage/csi-provisioner@${digest}`)
  assert.equal(container(daemonset.spec, 'stratum').image, 'localhost/stratum:0.1.0')
})

test('without an image, Helm says how to build and push one', () => {
  assert.throws(
    () => renderText({ values: { image: { repository: '' } } }),
    /podman build[^]*podman push[^]*--set image\.repository=/,
  )
})

test('long names of releases stay within what Kubernetes takes', () => {
  for (const { kind, metadata } of render({ ...ALL, release: 'a'.repeat(53) })) {
    assert.ok(metadata.name.length <= 63, `${kind} ${metadata.name}`)
    for (const value of Object.values(metadata.labels))
      assert.ok(String(value).length <= 63, `${kind} ${String(value)}`)
  }
})

test('before it is uninstalled a Job asks whether pods use volumes; it can be switched off', () => {
  const guard = find(objects, 'Job')
  assert.equal(guard.metadata.annotations['helm.sh/hook'], 'pre-delete')
  assert.ok(find(objects, 'ConfigMap', 'stratum-uninstall-guard').data['guard.ts'].includes('findUsers'))
  const account = guard.spec.template.spec.serviceAccountName
  const binding = find(objects, 'ClusterRoleBinding', account)
  assert.deepEqual(binding.subjects, [{ kind: 'ServiceAccount', name: account, namespace: 'stratum-system' }])
  assert.deepEqual(find(objects, 'ClusterRole', account).rules, [
    { apiGroups: [''], resources: ['pods', 'persistentvolumeclaims', 'persistentvolumes'], verbs: ['list'] },
  ])
  assert.ok(!render({ values: { uninstallGuard: { enabled: false } } }).some(({ kind }) => kind === 'Job'))
})

test('the dashboard arrives as it is', () => {
  assert.equal(JSON.parse(find(objects, 'ConfigMap', 'stratum-dashboard').data['stratum.json']).title, 'Stratum')
})

interface PodSpec {
  readonly name: string
  readonly spec: Manifest
}

function podSpecOf({ kind, metadata, spec }: Manifest): PodSpec | undefined {
  const found = kind === 'Pod' ? spec : spec?.template?.spec
  return found?.containers === undefined ? undefined : { name: `${kind} ${metadata.name}`, spec: found }
}
