import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { apply, cluster, get, kubectl, unique } from './support/cluster.ts'
import { askForCommit, conditionOf, waitForCommit } from './support/commits.ts'
import { kubectlStratum, stratum } from './support/driver.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, createPod, podNamed, startPod, waitForEvent, waitForPod } from './support/pods.ts'
import { createClaim, createStaticVolume, inline } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** Whose HEAD it is: never two writers, never the data of somebody who had the name before. */

before(ensureInstalled)

const [HERE, THERE] = cluster.nodes.map(node => node.name)

test('a StratumLabel that is deleted by hand is made again with its holder, and its HEAD goes on', async () => {
  const label = await createClaim({ name: unique('forgotten') })
  const pod = await startPod({ node: HERE, volumes: { '/data': claim(label) } })
  await pod.sh('echo one > /data/file && sync')
  await waitForCommit(await askForCommit({ label, tags: [{ name: 'v1' }] }))
  const { metadata } = await get('stratumlabel', label)
  await kubectl('delete', 'stratumlabel', label, '--timeout=60s')
  const again = await waitFor('the StratumLabel', async () => {
    const object = await get('stratumlabel', label)
    return object.status?.holder?.nodeName === HERE && object
  })
  assert.notEqual(again.metadata.uid, metadata.uid)
  await pod.sh('echo two > /data/file && sync')
  const { status } = await waitForCommit(await askForCommit({ label, tags: [{ name: 'v2' }] }))
  assert.equal(status.nodeName, HERE)
  await pod.delete()
  await kubectl('delete', 'pvc', label, '--timeout=120s')
})

test('two pods on two nodes want one HEAD: one gets it, the other is told who has it and what to do', async () => {
  const label = unique('wanted')
  for (const node of [HERE, THERE]) await stratum(node, 'import', '/opt/stratum/proto', '--label', `default/${label}`)
  const volumes = await Promise.all(
    [HERE, THERE].map(node => createStaticVolume({ label: `default/${label}` }, { node })),
  )
  const pods = await Promise.all(volumes.map(name => createPod({ volumes: { '/data': claim(name) } })))
  const isReady = async (name: string): Promise<boolean> =>
    conditionOf(await get('pod', name), 'Ready')?.status === 'True'
  const winner = await waitFor('one of the pods to run', async () => {
    const states = await Promise.all(pods.map(({ name }) => isReady(name)))
    const index = states.indexOf(true)
    return index >= 0 && { index }
  })
  const [first, second] = winner.index === 0 ? pods : [pods[1], pods[0]]
  const node = winner.index === 0 ? HERE : THERE
  const told = new RegExp(`HEAD of default/${label} is on node ${node}.*kubectl stratum release ${label} -n default`)
  await waitForEvent('Pod', second.name, told)
  assert.match(await kubectl('describe', 'pod', second.name), told)
  await first.sh('echo mine > /data/mine && sync')
  const table = await stratum(node === HERE ? THERE : HERE, 'status', `default/${label}`).catch(String)
  assert.doesNotMatch(table, /mine/)
  // Whose pod is gone keeps it until somebody gives it up: what it has not committed would be out of reach.
  await first.delete()
  assert.equal(await isReady(second.name), false)
  assert.equal((await kubectlStratum('release', label)).status, 6)
  assert.equal((await kubectlStratum('release', label, '--force')).status, 0)
  await waitForPod(second.name)
  await second.sh('test ! -e /data/mine && test -e /data/csi.proto')
  await second.delete()
  await kubectl('delete', 'pvc', ...volumes, '--timeout=120s')
  await kubectl('delete', 'pv', ...volumes, '--timeout=120s')
})

/** A namespace in which a claim of HERE holds a file that says "secret". */
async function namespaceWithClaim(prefix: string): Promise<{ namespace: string; label: string }> {
  const namespace = unique(prefix)
  await kubectl('create', 'namespace', namespace)
  const label = await createClaim({ name: 'web', namespace })
  const pod = await startPod({ node: HERE, namespace, volumes: { '/data': claim(label) } })
  await pod.sh('echo secret > /data/file && sync')
  return { namespace, label }
}

async function makeAgain(namespace: string): Promise<void> {
  await kubectl('delete', 'namespace', namespace, '--timeout=180s')
  await kubectl('create', 'namespace', namespace)
}

test('a namespace that is deleted and made again inherits nothing, unless an administrator says so', async () => {
  const { namespace, label } = await namespaceWithClaim('again')
  const { metadata } = await get('namespace', namespace)
  await stratum(HERE, 'commit', `${namespace}/${label}:v1`)
  await makeAgain(namespace)
  const spy = await createPod({ node: HERE, namespace, volumes: { '/data': inline({ label, tag: 'v1' }) } })
  await waitForEvent('Pod', spy.name, /FailedMount.*earlier namespace.*kubectl annotate namespace/, namespace)
  await createClaim({ name: 'copy', namespace, annotations: { 'stratum.dev/from': `${label}:v1` } })
  const copier = await createPod({ node: HERE, namespace, volumes: { '/data': claim('copy') } })
  await waitForEvent('PersistentVolumeClaim', 'copy', /earlier namespace/, namespace)
  const request = { name: 'steal', namespace }
  await apply({
    apiVersion: 'stratum.dev/v1alpha1',
    kind: 'StratumCommit',
    metadata: request,
    spec: { label, source: { tag: 'v1' }, tags: [{ name: 'v2' }], deadlineSeconds: 3600 },
  })
  await waitFor('the request to be refused or to wait', async () => {
    const { status } = await get('stratumcommit', request.name, namespace)
    const ready = conditionOf({ status }, 'Ready')
    return ready?.status === 'False' && /UnknownLabel|PermissionDenied/.test(ready.reason)
  })
  for (const pod of [spy, copier]) await pod.delete()
  await kubectl('annotate', 'namespace', namespace, `stratum.dev/adopt=${metadata.uid}`)
  const heir = await startPod({ node: HERE, namespace, volumes: { '/data': inline({ label, tag: 'v1' }) } })
  assert.equal(await heir.sh('cat /data/file'), 'secret')
  await kubectl('delete', 'namespace', namespace, '--timeout=180s')
})

test('a namespace of which nothing is left begins anew, with empty volumes', async () => {
  const { namespace, label } = await namespaceWithClaim('anew')
  await makeAgain(namespace)
  await createClaim({ name: label, namespace })
  const pod = await startPod({ node: HERE, namespace, volumes: { '/data': claim(label) } })
  assert.equal(await pod.sh('ls -A /data'), '')
  await kubectl('delete', 'namespace', namespace, '--timeout=180s')
})

test('pods of a restricted namespace use volumes: a claim, a tag, a HEAD read-only', async () => {
  const namespace = unique('restricted')
  await kubectl('create', 'namespace', namespace)
  await kubectl('label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted')
  const label = await createClaim({ name: 'web', namespace })
  const restricted = {
    pod: {
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        fsGroup: 2000,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    },
    container: {
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
    },
  }
  await assert.rejects(createPod({ namespace, volumes: { '/data': claim(label) } }), /violates PodSecurity/)
  const writer = await startPod({ node: HERE, namespace, volumes: { '/data': claim(label) }, ...restricted })
  await writer.sh('echo mine > /data/file && sync')
  await stratum(HERE, 'commit', `${namespace}/${label}:v1`)
  const volumes = {
    '/tag': inline({ label, tag: 'v1' }),
    '/head': { persistentVolumeClaim: { claimName: label, readOnly: true } },
  }
  const reader = await startPod({ namespace, volumes, ...restricted })
  assert.equal(await podNamed(reader.name, namespace).sh('cat /tag/file /head/file'), 'mine\nmine')
  await kubectl('delete', 'namespace', namespace, '--timeout=180s')
})
