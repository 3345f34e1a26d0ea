import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { cluster, type KubeObject, kubectl } from './support/cluster.ts'
import { stratum } from './support/driver.ts'
import { ensureInstalled } from './support/install.ts'
import { podNamed } from './support/pods.ts'
import { waitFor } from './support/wait.ts'

/** Every file of deploy/examples does what it says, applied as it is by server-side apply, and applying it again would change nothing. */

before(ensureInstalled)

const FOLDER = path.resolve(import.meta.dirname, '../../deploy/examples')
const NAMESPACE = 'team-a'
/** In an order in which each finds what it needs; what a test is to see after it. */
const ORDER = [
  'namespace',
  'claim',
  'commit',
  'inline',
  'static-tag',
  'read-only-head',
  'from-tag',
  'clone',
  'snapshot',
  'restore',
  'tag-a-tag',
  'commit-options',
  'static-head',
  'ci-cache',
  'ci-cache-commit',
  'ci-build',
  'agent-workspace',
  'game-server',
]
/** These pods print the page that the claim `web` holds. */
const SHOW_THE_PAGE = new Set(['inline', 'static-tag', 'read-only-head', 'from-tag', 'clone', 'restore'])

/** What has to be true of an object of each kind before the example counts as done. */
const DONE: Record<string, (object: KubeObject) => boolean> = {
  Pod: object => hasCondition(object, 'Ready'),
  Job: object => hasCondition(object, 'Complete'),
  StatefulSet: object => object.status?.readyReplicas === object.spec.replicas,
  StratumCommit: object => hasCondition(object, 'Ready'),
  VolumeSnapshot: object => object.status?.readyToUse === true,
}

function hasCondition(object: KubeObject, type: string): boolean {
  return object.status?.conditions?.some((it: KubeObject) => it.type === type && it.status === 'True') === true
}

test('the list here is complete', () => {
  const files = fs.readdirSync(FOLDER).filter(name => name.endsWith('.yaml'))
  assert.deepEqual(files.sort(), ORDER.map(name => `${name}.yaml`).sort())
})

for (const name of ORDER) {
  test(`${name}.yaml`, async () => {
    const file = path.join(FOLDER, `${name}.yaml`)
    if (name === 'static-head') await importSite()
    await kubectl('apply', '--server-side', '-f', file)
    await waitFor(`everything in ${name}.yaml`, async () => (await unfinished(file)).length === 0, {
      explain: async () => (await unfinished(file)).map(object => describe(object)).join('\n'),
    })
    // kubectl fails where there is a difference, and also where a status changed while it looked.
    await waitFor(`nothing of ${name}.yaml to differ`, () =>
      kubectl('diff', '--server-side', '-f', file).then(() => true),
    )
    if (SHOW_THE_PAGE.has(name)) {
      const pod = (await objects(file)).find(object => object.kind === 'Pod')!
      const page = (): Promise<string> => kubectl('logs', pod.metadata.name, '--namespace', NAMESPACE)
      await waitFor('the page', async () => (await page()) === '<h1>one</h1>', { explain: page })
    }
  })
}

test('after all of them, the claim has what it had, and the tags are there', async () => {
  assert.equal(await podNamed('web', NAMESPACE).sh('cat /data/index.html'), '<h1>one</h1>')
  await kubectl('delete', 'namespace', NAMESPACE, '--timeout=180s')
  await kubectl('delete', 'pv', 'team-a-site', 'team-a-web-v1', '--timeout=60s')
})

async function objects(file: string): Promise<KubeObject[]> {
  const found = JSON.parse(await kubectl('get', '-f', file, '-o', 'json'))
  return found.kind === 'List' ? found.items : [found]
}

async function unfinished(file: string): Promise<KubeObject[]> {
  return (await objects(file)).filter(object => DONE[object.kind]?.(object) === false)
}

function describe({ kind, metadata, status }: KubeObject): string {
  return `${kind} ${metadata.name}: ${JSON.stringify(status?.conditions ?? status)}`
}

/** What static-head.yaml says was done before. */
async function importSite(): Promise<void> {
  const node = cluster.nodes[0].name
  await stratum(node, 'import', '/opt/stratum/proto', '--label', `${NAMESPACE}/site`)
}
