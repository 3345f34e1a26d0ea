import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { cluster, kubectl, unique } from './support/cluster.ts'
import { stratum } from './support/driver.ts'
import { ensureInstalled } from './support/install.ts'
import { claim, createPod, eventsOf, startPod, waitForEvent } from './support/pods.ts'
import { createClaim, createStaticVolume, inline, nodeOfClaim } from './support/volumes.ts'

/** Each kind of volume in a pod, and what pods do with volumes. */

const [HERE, ELSEWHERE] = cluster.nodes.map(node => node.name)
/** A label of the namespace `default` that is on HERE, with the tag v1 of a commit in which /index.html says "one". */
let published: string

before(async () => {
  await ensureInstalled()
  published = await publish('one')
})

/** Makes a label with the tag v1 by way of a claim and a pod, as a user does, and gives its name. */
async function publish(content: string): Promise<string> {
  const label = await createClaim({ name: unique('published') })
  const pod = await startPod({ node: HERE, volumes: { '/data': claim(label) } })
  await pod.sh(`mkdir -p /data/sub && echo ${content} > /data/index.html && echo inner > /data/sub/file && sync`)
  await stratum(HERE, 'commit', `default/${label}:v1`)
  await pod.delete()
  return label
}

test('a claim: what a pod wrote is there for the next, on the same node', async () => {
  const name = await createClaim()
  const first = await startPod({ volumes: { '/data': claim(name) } })
  assert.equal(await first.sh('ls -A /data'), '', 'a new volume is empty')
  await first.sh('echo kept > /data/file')
  await first.delete()
  const second = await startPod({ volumes: { '/data': claim(name) } })
  assert.equal(await second.sh('cat /data/file'), 'kept')
  await second.delete()
})

test('a claim: an ordinary user with a group of its own and a read-only root file system', async () => {
  const name = await createClaim()
  const pod = await startPod({
    volumes: { '/data': claim(name) },
    pod: { securityContext: { runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, runAsNonRoot: true } },
    container: { securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false } },
  })
  await pod.sh('echo mine > /data/file')
  assert.equal(await pod.sh('stat -c "%u %g" /data/file'), '1000 3000', 'new files belong to the group of the volume')
  await assert.rejects(pod.sh('echo no > /file'), /Read-only file system/)
  await pod.delete()
})

test('a claim: sub-paths are folders of the volume', async () => {
  const name = await createClaim()
  const pod = await startPod({
    volumes: { '/one': claim(name), '/all': claim(name) },
    mounts: { '/one': { subPath: 'a/b' } },
  })
  await pod.sh('echo inside > /one/file')
  assert.equal(await pod.sh('cat /all/a/b/file'), 'inside')
  await pod.delete()
})

test('two pods on one HEAD see what the other writes; one of them may be read-only', async () => {
  const name = await createClaim()
  const writer = await startPod({ volumes: { '/data': claim(name) } })
  const second = await startPod({ volumes: { '/data': claim(name) } })
  const readOnly = { persistentVolumeClaim: { claimName: name, readOnly: true } }
  const reader = await startPod({ volumes: { '/data': readOnly } })
  await writer.sh('echo one > /data/first')
  await second.sh('echo two > /data/second')
  assert.equal(await writer.sh('cat /data/second'), 'two')
  assert.equal(await reader.sh('cat /data/first /data/second'), 'one\ntwo')
  await assert.rejects(reader.sh('echo no > /data/third'), /Read-only file system/)
  for (const pod of [writer, second, reader]) await pod.delete()
})

test('ReadWriteOncePod: a second pod waits until the first is gone', async () => {
  const name = await createClaim({ accessModes: ['ReadWriteOncePod'] })
  const first = await startPod({ volumes: { '/data': claim(name) } })
  const second = await createPod({ volumes: { '/data': claim(name) } })
  await waitForEvent('Pod', second.name, /ReadWriteOncePod/)
  await first.delete()
  await kubectl('wait', '--for=condition=Ready', `pod/${second.name}`, '--timeout=120s')
  await second.delete()
})

test('a tag: static, in the label:tag form too, and inline; all read-only and with the content of the commit', async () => {
  const volumes = {
    '/static': claim(
      await createStaticVolume({ label: `default/${published}`, tag: 'v1' }, { node: HERE, readOnly: true }),
    ),
    '/short': claim(await createStaticVolume({ label: `default/${published}:v1` }, { node: HERE, readOnly: true })),
    '/inline': inline({ label: published, tag: 'v1' }),
  }
  const pod = await startPod({ node: HERE, volumes })
  for (const place of Object.keys(volumes)) {
    assert.equal(await pod.sh(`cat ${place}/index.html ${place}/sub/file`), 'one\ninner')
    await assert.rejects(pod.sh(`echo no > ${place}/new`), /Read-only file system/)
  }
  await pod.delete()
})

test('mount options of a PersistentVolume hold in the pod, and one that there is not is told in an Event', async () => {
  const tag = { label: `default/${published}:v1` }
  const make = (mountOptions: string[]): Promise<string> =>
    createStaticVolume(tag, { node: HERE, readOnly: true, mountOptions })
  const strict = await make(['noexec', 'noatime'])
  const pod = await startPod({ volumes: { '/data': claim(strict) } })
  assert.match(await pod.sh('grep " /data " /proc/mounts'), /ro,nosuid,nodev,noexec,noatime/)
  const wrong = await createPod({ volumes: { '/data': claim(await make(['sync'])) } })
  await waitForEvent('Pod', wrong.name, /unknown mount option "?sync"?.*noexec/)
  for (const each of [pod, wrong]) await each.delete()
})

test('static HEAD: the label as it stands, writable', async () => {
  const label = await publish('one')
  await kubectl('delete', 'pvc', label, '--timeout=120s') // gives the HEAD back; the named tag stays
  const volume = await createStaticVolume({ label: `default/${label}`, tag: 'HEAD' }, { node: HERE })
  const pod = await startPod({ volumes: { '/data': claim(volume) } })
  await pod.sh('echo two > /data/index.html')
  await stratum(HERE, 'commit', `default/${label}:v2`)
  await pod.delete()
  const both = { '/v1': inline({ label, tag: 'v1' }), '/v2': inline({ label, tag: 'v2' }) }
  const reader = await startPod({ node: HERE, volumes: both })
  assert.equal(await reader.sh('cat /v1/index.html /v2/index.html'), 'one\ntwo')
  await reader.delete()
})

test('a claim from a tag begins with its content and goes its own way', async () => {
  const name = await createClaim({ annotations: { 'stratum.dev/from': `${published}:v1` } })
  const pod = await startPod({
    node: HERE,
    volumes: { '/data': claim(name), '/tag': inline({ label: published, tag: 'v1' }) },
  })
  assert.equal(await pod.sh('cat /data/index.html'), 'one')
  await pod.sh('echo changed > /data/index.html')
  assert.equal(await pod.sh('cat /tag/index.html'), 'one')
  await pod.delete()
})

test('what cannot be mounted says so in an Event of the pod', async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ label: published, tag: 'v1', colour: 'red' }, /colour/],
    [{ label: published, tag: 'nothing' }, /nothing/],
    [{ label: 'nobody', tag: 'v1' }, /nobody/],
    [{ label: 'Not A Label', tag: 'v1' }, /Not A Label/],
    [{ tag: 'v1' }, /label/],
    [{ label: published, tag: 'HEAD' }, /HEAD/],
    [{ label: `elsewhere/${published}`, tag: 'v1' }, /elsewhere/],
  ]
  const pods = await Promise.all(
    cases.map(([attributes]) => createPod({ node: HERE, volumes: { '/data': inline(attributes) } })),
  )
  for (const [index, pod] of pods.entries()) {
    const text = await waitForEvent('Pod', pod.name, /FailedMount|FailedCreate/)
    assert.match(text, cases[index][1])
  }
  for (const pod of pods) await pod.delete()
})

test('a tag that is on another node: the Event of the pod says so, and no empty volume appears', async () => {
  const pod = await createPod({ node: ELSEWHERE, volumes: { '/data': inline({ label: published, tag: 'v1' }) } })
  await waitForEvent('Pod', pod.name, /FailedMount/)
  assert.match((await eventsOf('Pod', pod.name)).join('\n'), new RegExp(published))
  await pod.delete()
})

test('another namespace has labels of its own: the same name is not found there', async () => {
  const namespace = unique('stranger')
  await kubectl('create', 'namespace', namespace)
  const pod = await createPod({ node: HERE, namespace, volumes: { '/data': inline({ label: published, tag: 'v1' }) } })
  await waitForEvent('Pod', pod.name, /FailedMount/, namespace)
  await kubectl('delete', 'namespace', namespace, '--timeout=120s')
})

test('the volume of a claim is on the node where its first pod ran', async () => {
  const name = await createClaim()
  const pod = await startPod({ node: ELSEWHERE, volumes: { '/data': claim(name) } })
  assert.equal(await nodeOfClaim(name), ELSEWHERE)
  await pod.delete()
})
