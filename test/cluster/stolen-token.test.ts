import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import type { ApiServer } from '../../src/kube/client/api-server.ts'
import { patchObject } from '../../src/kube/client/objects.ts'
import { STRATUM_COMMITS, STRATUM_LABELS } from '../../src/kube/resources/stratum.ts'
import { CONTROL_PLANE_ADDRESS, files } from './machine/layout.ts'
import { run } from './machine/run.ts'
import { KUBERNETES, programPath } from './programs/programs.ts'
import { cluster, get, kubectl, unique } from './support/cluster.ts'
import { askForCommit } from './support/commits.ts'
import { pluginOn } from './support/driver.ts'
import { ensureInstalled, NAMESPACE } from './support/install.ts'
import { claim, startPod } from './support/pods.ts'
import { createClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** Somebody has taken the token that kubelet gave the plugin of one node. Every line of the policies is tried in operator/rights.test.ts. */

before(ensureInstalled)

const [HERE, THERE] = cluster.nodes.map(node => node.name)
const TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'

interface Thief {
  kubectl(...args: string[]): Promise<string>
  /** For subresources: kubectl wants to read them first, which nobody may. */
  readonly server: ApiServer
}

async function steal(node: string): Promise<Thief> {
  const { metadata } = await pluginOn(node)
  const place = ['--namespace', NAMESPACE, '--container', 'stratum']
  const token = await kubectl('exec', metadata.name, ...place, '--', 'cat', TOKEN)
  const config = JSON.parse(fs.readFileSync(files.kubeconfig(cluster, 'admin'), 'utf8'))
  config.users[0].user = { token }
  const file = path.join(cluster.folder, `thief-${node}.kubeconfig`)
  fs.writeFileSync(file, JSON.stringify(config))
  const ca = fs.readFileSync(files.certificate(cluster, 'ca'), 'utf8')
  return {
    kubectl: (...args) => run(programPath(KUBERNETES, 'kubectl'), ['--kubeconfig', file, ...args]),
    server: { address: { host: CONTROL_PLANE_ADDRESS, port: 443 }, ca, token: () => token },
  }
}

test("the token of one node's plugin does nothing to what is another's", async () => {
  const label = await createClaim({ name: unique('theirs') })
  const pod = await startPod({ node: THERE, volumes: { '/data': claim(label) } })
  const request = await askForCommit({ label, suspend: true })
  await waitFor('the holder', async () => (await get('stratumlabel', label)).status?.holder?.nodeName === THERE)
  const { spec } = await get('pvc', label)
  const thief = await steal(HERE)
  assert.match(await thief.kubectl('auth', 'whoami', '-o', 'yaml'), new RegExp(HERE), 'the token names its node')
  const patch = (...args: string[]): string[] => ['patch', '--namespace', 'default', '--type', 'merge', ...args]
  const attempts: [string, RegExp, string[]][] = [
    ['reads secrets', /cannot list resource "secrets"/, ['get', 'secrets', '--all-namespaces']],
    ['lists pods', /cannot list resource "pods"/, ['get', 'pods']],
    ['deletes a pod', /cannot delete resource "pods"/, ['delete', 'pod', pod.name, '--wait=false']],
    ['deletes a volume', /may only touch/, ['delete', 'pv', spec.volumeName, '--wait=false']],
    [
      'selects a node for a claim',
      /none that is for another node|may only select itself|only annotate claims/,
      patch('pvc', label, '-p', JSON.stringify({ metadata: { annotations: { 'stratum.dev/label': 'x' } } })),
    ],
    ['asks for another token', /cannot create resource "serviceaccounts\/token"/, ['create', 'token', 'default']],
  ]
  for (const [what, refusal, args] of attempts) await assert.rejects(thief.kubectl(...args), refusal, what)
  const status = { subresource: 'status' } as const
  const [labelKey, requestKey] = [label, request].map(name => ({ namespace: 'default', name }))
  const holder = { status: { holder: { nodeName: HERE, storeId: 's' } } }
  await assert.rejects(patchObject(thief.server, STRATUM_LABELS, labelKey, holder, status), /cannot take HEAD/)
  const signed = { status: { nodeName: THERE } }
  await assert.rejects(patchObject(thief.server, STRATUM_COMMITS, requestKey, signed, status), /signs with its name/)
  await pod.sh('true')
  await pod.delete()
  await kubectl('delete', 'scm', request, '--timeout=60s')
  await kubectl('delete', 'pvc', label, '--timeout=120s')
})
