import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { files } from './machine/layout.ts'
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
type Thief = (...args: string[]) => Promise<string>

async function steal(node: string): Promise<Thief> {
  const { metadata } = await pluginOn(node)
  const place = ['--namespace', NAMESPACE, '--container', 'stratum']
  const token = await kubectl('exec', metadata.name, ...place, '--', 'cat', TOKEN)
  const config = JSON.parse(fs.readFileSync(files.kubeconfig(cluster, 'admin'), 'utf8'))
  config.users[0].user = { token }
  const file = path.join(cluster.folder, `thief-${node}.kubeconfig`)
  fs.writeFileSync(file, JSON.stringify(config))
  return (...args) => run(programPath(KUBERNETES, 'kubectl'), ['--kubeconfig', file, ...args])
}

test("the token of one node's plugin does nothing to what is another's", async () => {
  const label = await createClaim({ name: unique('theirs') })
  const pod = await startPod({ node: THERE, volumes: { '/data': claim(label) } })
  const request = await askForCommit({ label, suspend: true })
  await waitFor('the holder', async () => (await get('stratumlabel', label)).status?.holder?.nodeName === THERE)
  const { spec } = await get('pvc', label)
  const thief = await steal(HERE)
  assert.match(await thief('auth', 'whoami', '-o', 'yaml'), new RegExp(HERE), 'the token names its node')
  const patch = (...args: string[]): string[] => ['patch', '--namespace', 'default', '--type', 'merge', ...args]
  const holder = JSON.stringify({ status: { holder: { nodeName: HERE, storeId: 's' } } })
  const attempts: [string, RegExp, string[]][] = [
    ['reads secrets', /cannot list resource "secrets"/, ['get', 'secrets', '--all-namespaces']],
    ['lists pods', /cannot list resource "pods"/, ['get', 'pods']],
    ['deletes a pod', /cannot delete resource "pods"/, ['delete', 'pod', pod.name, '--wait=false']],
    ['deletes a volume', /may only touch/, ['delete', 'pv', spec.volumeName, '--wait=false']],
    ['takes HEAD', /cannot take HEAD/, patch('stratumlabel', label, '--subresource=status', '-p', holder)],
    [
      'answers a request in the name of another',
      /signs with its name/,
      patch('scm', request, '--subresource=status', '-p', JSON.stringify({ status: { nodeName: THERE } })),
    ],
    [
      'selects a node for a claim',
      /none that is for another node|may only select itself|only annotate claims/,
      patch('pvc', label, '-p', JSON.stringify({ metadata: { annotations: { 'stratum.dev/label': 'x' } } })),
    ],
    ['asks for another token', /cannot create resource "serviceaccounts\/token"/, ['create', 'token', 'default']],
  ]
  for (const [what, refusal, args] of attempts) await assert.rejects(thief(...args), refusal, what)
  await pod.sh('true')
  await pod.delete()
  await kubectl('delete', 'scm', request, '--timeout=60s')
  await kubectl('delete', 'pvc', label, '--timeout=120s')
})
