import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { cluster, get, kubectl, unique } from './support/cluster.ts'
import { askForCommit, conditionOf, waitForCommit } from './support/commits.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, startPod, waitForEvent } from './support/pods.ts'
import { createClaim, inline } from './support/volumes.ts'
import { waitFor } from './support/wait.ts'

/** StratumCommits of the HEAD of a pod that is at work. What the API server refuses is in operator/. */

before(ensureInstalled)

const NODE = cluster.nodes[0].name
/** Writes two files with the same number, one after the other, in every round: a point in time never shows them two apart. */
const PAIR = 'n=0; while n=$((n + 1)); do echo $n > /data/a; echo $n > /data/b; done'

test('a commit has what the pod had synced, byte by byte, and a second pod mounts its tag', async () => {
  const label = await createClaim({ name: unique('site') })
  const pod = await startPod({ node: NODE, volumes: { '/data': claim(label) } })
  await pod.sh(
    'mkdir -p /data/a/b && head -c 300000 /dev/urandom > /data/a/b/random && ln -s b/random /data/a/link && sync',
  )
  const expected = await pod.sh('cd /data && find . | sort && sha256sum a/b/random && readlink a/link')
  const commit = await waitForCommit(await askForCommit({ label, tags: [{ name: 'v1' }], message: 'first' }))
  assert.equal(commit.status.nodeName, NODE)
  assert.match(commit.status.commitId, /^[0-9a-f]{64}$/)
  await pod.sh('rm -r /data/a && echo later > /data/later')
  const reader = await startPod({ node: NODE, volumes: { '/data': inline({ label, tag: 'v1' }) } })
  assert.equal(await reader.sh('cd /data && find . | sort && sha256sum a/b/random && readlink a/link'), expected)
  const known = await waitFor('the tag to be listed', async () => {
    const { status } = await get('stratumlabel', label)
    return status.tags?.find((it: { name: string }) => it.name === 'v1')
  })
  assert.equal(known.commitId ?? known.commit, commit.status.commitId)
  for (const each of [pod, reader]) await each.delete()
})

test('Freeze stops a pod that writes without end for a moment, says for how long, and shows one point in time', async () => {
  const label = await createClaim({ name: unique('busy') })
  const pod = await startPod({ node: NODE, command: PAIR, volumes: { '/data': claim(label) } })
  await waitFor('the pod to write', () => pod.sh('test -s /data/b').then(() => true))
  for (const name of ['one', 'two', 'three']) {
    const commit = await waitForCommit(await askForCommit({ label, tags: [{ name }], consistency: 'Freeze' }))
    assert.ok(commit.status.pauseMilliseconds >= 0, JSON.stringify(commit.status))
    const reader = await startPod({ node: NODE, volumes: { '/data': inline({ label, tag: name }) } })
    const [a, b] = (await reader.sh('cat /data/a; echo; cat /data/b')).split(/\n+/).map(Number)
    // Of the two, the file that is being replaced may be empty at that point.
    if (a > 0 && b > 0) assert.ok(a - b === 0 || a - b === 1, `a says ${a}, b says ${b}`)
    await reader.delete()
  }
  await pod.delete()
})

test('Idle is refused while somebody has a file open for writing, and says who', async () => {
  const label = await createClaim({ name: unique('open') })
  const pod = await startPod({
    node: NODE,
    command: 'exec 3> /data/open; while :; do sleep 1; done',
    volumes: { '/data': claim(label) },
  })
  await pod.sh('test -e /data/open')
  const name = await askForCommit({ label, tags: [{ name: 'v1' }], consistency: 'Idle', deadlineSeconds: 10 })
  const ended = await waitFor(
    'the request to end',
    async () => {
      const commit = await get('stratumcommit', name)
      return (
        conditionOf(commit, 'Ready')?.status === 'False' && conditionOf(commit, 'Stalled')?.status === 'True' && commit
      )
    },
    { explain: () => kubectl('describe', 'stratumcommit', name) },
  )
  assert.match(JSON.stringify(ended.status.conditions), /sleep|sh|open/)
  await pod.delete()
})

test('a request for a label that nobody has is told so', async () => {
  const name = await askForCommit({ label: unique('nobody'), tags: [{ name: 'v1' }], deadlineSeconds: 5 })
  await waitForEvent('StratumCommit', name, /nobody/)
})
