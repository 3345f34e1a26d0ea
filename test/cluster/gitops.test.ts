import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { run } from './machine/run.ts'
import { get, type KubeObject, kubectl, unique } from './support/cluster.ts'
import { askForCommit, conditionOf, waitForCommit } from './support/commits.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, startPod } from './support/pods.ts'
import { createClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** That Argo CD sees of StratumCommits what docs/kubernetes/gitops.md promises: its script, run by Lua on objects of the API server. */

before(ensureInstalled)

const PAGE = path.resolve(import.meta.dirname, '../../docs/kubernetes/gitops.md')
const [, script] = /StratumCommit: \|\n((?: {2}.*\n)+)/.exec(fs.readFileSync(PAGE, 'utf8'))!

test('a commit is healthy when it is Ready, degraded when it failed, and progresses or is suspended until then', async () => {
  const label = await createClaim({ name: unique('gitops') })
  const pod = await startPod({ volumes: { '/data': claim(label) } })
  await pod.sh('echo one > /data/file && sync')
  const suspended = await askForCommit({ label, tags: [{ name: 'v1' }], suspend: true })
  await waitFor('the request to be looked at', async () => (await get('scm', suspended)).status?.conditions?.length > 0)
  assert.equal((await health(suspended)).status, 'Suspended')
  await kubectl('patch', 'scm', suspended, '--type=merge', '-p', '{"spec":{"suspend":false}}')
  await waitForCommit(suspended)
  assert.equal((await health(suspended)).status, 'Healthy')

  await pod.sh('echo two > /data/file && sync')
  const refused = await askForCommit({ label, tags: [{ name: 'v1' }] })
  await waitFor('it to fail', async () => conditionOf(await get('scm', refused), 'Ready')?.status === 'False')
  const { status, message } = await health(refused)
  assert.equal(status, 'Degraded')
  assert.match(message, /v1/)

  const waits = await askForCommit({ label: unique('nobody'), tags: [{ name: 'v1' }] })
  assert.equal((await health(waits)).status, 'Progressing')
  await waitFor('it to be looked at', async () => conditionOf(await get('scm', waits), 'Ready')?.status === 'False')
  assert.equal((await health(waits)).status, 'Progressing', 'its label may come yet')
  await kubectl('delete', 'scm', suspended, refused, waits, '--timeout=120s')
  await pod.delete()
  await kubectl('delete', 'pvc', label, '--timeout=120s')
})

/** What the script makes of a StratumCommit. */
async function health(name: string): Promise<{ readonly status: string; readonly message: string }> {
  const program = `obj = ${inLua(await get('scm', name))}
local function health()
${script}
end
local found = health()
print(found.status)
print(found.message)`
  const [status, ...message] = (await run('lua5.1', ['-'], { input: program })).split('\n')
  return { status, message: message.join('\n') }
}

function inLua(value: KubeObject | KubeObject[] | string | number | boolean | null): string {
  if (value === null) return 'nil'
  if (Array.isArray(value)) return `{${value.map(inLua).join(', ')}}`
  if (typeof value !== 'object') return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, each]) => `[${JSON.stringify(key)}] = ${inLua(each)}`)
    .join(', ')}}`
}
