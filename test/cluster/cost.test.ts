import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cluster, kubectl, list, unique } from './support/cluster.ts'
import { askForCommit } from './support/commits.ts'
import { memoryOf, pluginOn } from './support/driver.ts'
import { ensureInstalled, NAMESPACE } from './support/install.ts'
import { claim, startPod } from './support/pods.ts'
import { createClaim } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/**
 * What the driver costs: calls of the API server while nothing happens, from the audit log, and memory. STRATUM_COST_MINUTES=5, say, adds 50 commits a
 * minute for so long (docs/performance.md has the figures).
 */

before(ensureInstalled)

const SECONDS = Number(process.env.STRATUM_IDLE_SECONDS ?? 60)
const PER_NODE_MAX = 0.2
const MINUTES = Number(process.env.STRATUM_COST_MINUTES ?? 0)
const COMMITS_A_MINUTE = 50
const NODE_MIB_MAX = 140

interface Call {
  readonly user: { readonly username: string }
  readonly userAgent: string
  readonly verb: string
  readonly stage: string
  readonly requestReceivedTimestamp: string
  readonly objectRef?: { readonly resource: string; readonly subresource?: string }
}

/** Calls of our service accounts that began in a time; a watch counts once, when it began. */
function callsBetween(from: Date, to: Date): Call[] {
  const calls = fs.readFileSync(path.join(cluster.folder, 'audit.log'), 'utf8').trim().split('\n')
  return calls
    .map(line => JSON.parse(line) as Call)
    .filter(({ stage, verb }) => stage === 'ResponseComplete' || (verb === 'watch' && stage === 'ResponseStarted'))
    .filter(({ verb, stage }) => verb !== 'watch' || stage === 'ResponseStarted')
    .filter(({ user }) => user.username.startsWith(`system:serviceaccount:${NAMESPACE}:stratum-`))
    .filter(({ requestReceivedTimestamp: at }) => at >= from.toISOString() && at < to.toISOString())
}

test(`an idle cluster is asked less than ${PER_NODE_MAX} times a second for each node`, async () => {
  await waitFor('the driver to be at rest', async () => {
    const before = new Date()
    await sleep(5000)
    return callsBetween(before, new Date()).length <= 5
  })
  const from = new Date()
  await sleep(SECONDS * 1000)
  const calls = callsBetween(from, new Date())
  const counts = new Map<string, number>()
  for (const { user, userAgent, verb, objectRef } of calls) {
    const who = `${user.username.split(':').at(-1)} ${userAgent.split(/[/ ]/)[0]}`
    const what = `${who} ${verb} ${objectRef?.resource}${objectRef?.subresource === undefined ? '' : `/${objectRef.subresource}`}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  const table = [...counts].sort(([, a], [, b]) => b - a).map(([what, count]) => `${count} ${what}`)
  const perNode = calls.length / SECONDS / cluster.nodes.length
  console.log(`${perNode.toFixed(3)} calls a second for each node in ${SECONDS} s:\n  ${table.join('\n  ')}`)
  assert.ok(calls.length > 0, 'the audit log was read')
  assert.ok(perNode < PER_NODE_MAX, `${perNode} calls a second:\n${table.join('\n')}`)
  assert.match(await kubectl('get', 'lease', 'stratum-controller', '--namespace', NAMESPACE), /stratum-controller-/)
})

test(`a plugin at rest takes at most ${NODE_MIB_MAX} MiB`, async () => {
  for (const node of cluster.nodes) {
    const { residentMiB, privateMiB } = await memoryOf(await pluginOn(node.name))
    console.log(`the plugin of ${node.name}: ${residentMiB} MiB resident, ${privateMiB} of them its own`)
    assert.ok(residentMiB <= NODE_MIB_MAX, `${residentMiB} MiB`)
  }
  for (const pod of await list('pods', '-n', NAMESPACE, '--selector', 'app.kubernetes.io/component=controller')) {
    const { residentMiB, privateMiB } = await memoryOf(pod)
    console.log(`${pod.metadata.name}: ${residentMiB} MiB resident, ${privateMiB} of them its own`)
  }
})

if (MINUTES > 0) {
  test(`${COMMITS_A_MINUTE} commits a minute for ${MINUTES} minutes`, async () => {
    const node = cluster.nodes[0].name
    const label = await createClaim({ name: unique('cost') })
    const pod = await startPod({ node, volumes: { '/data': claim(label) } })
    const seconds: number[] = []
    for (let minute = 1; minute <= MINUTES; minute++) {
      const end = performance.now() + 60_000
      for (let n = 0; n < COMMITS_A_MINUTE; n++) {
        await pod.sh(`echo ${minute}-${n} > /data/file`)
        const begun = performance.now()
        const name = await askForCommit({ label, tags: [{ name: `t${minute}-${n}` }] })
        await kubectl('wait', '--for=condition=Ready', `scm/${name}`, '--timeout=60s')
        seconds.push((performance.now() - begun) / 1000)
        await sleep(Math.max(0, end - performance.now() - ((COMMITS_A_MINUTE - n - 1) * 60_000) / COMMITS_A_MINUTE))
      }
      const { residentMiB } = await memoryOf(await pluginOn(node))
      const sorted = seconds.splice(0).sort((a, b) => a - b)
      const median = sorted[sorted.length >> 1].toFixed(2)
      console.log(
        `minute ${minute}: ${residentMiB} MiB, kubectl apply and wait: median ${median} s, ${sorted.at(-1)?.toFixed(2)} s at most`,
      )
    }
    await pod.delete()
  })
}
