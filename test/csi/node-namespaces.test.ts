import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { StratumError } from '../../src/errors/stratum-error.ts'
import { publishVolume } from '../../src/volumes/publish.ts'
import type { PublishRequest } from '../../src/volumes/publish-request.ts'
import { openVolumes } from '../../src/volumes/recover.ts'
import { unpublishVolume } from '../../src/volumes/unpublish.ts'
import { type HolderArbiter, SOLE_HOLDER, type Volumes } from '../../src/volumes/volumes.ts'
import { createPod, publishRequest, targetOf } from '../support/csi.ts'
import { createTestStore } from '../support/store.ts'

/** A namespace that was deleted and made again inherits nothing by its name: test/cluster/operator/holders.test.ts has who knows that. */
const NEVER = new AbortController().signal

interface Lab {
  readonly volumes: Volumes
  /** Namespaces that were asked about. */
  readonly asked: string[]
  readonly kubeletDir: string
}

async function createLab(): Promise<Lab> {
  const store = createTestStore()
  await store.importFiles('team-a/web:v1', { file: 'one' })
  await store.importFiles('team-b/shown:v1', { file: 'shown' })
  await store.importFiles('library/base:v1', { file: 'base' })
  const kubeletDir = `${store.scratch}/kubelet`
  fs.mkdirSync(kubeletDir)
  const asked: string[] = []
  const requireNamespace = async (namespace: string): Promise<void> => {
    asked.push(namespace)
    throw new StratumError('permission', `the labels of ${namespace}/ belong to an earlier namespace of that name`)
  }
  const holders: HolderArbiter = { ...SOLE_HOLDER, take: () => requireNamespace('HEAD'), requireNamespace }
  const driver = { name: 'd', nodeId: 'n', kubeletDir, headsDir: `${kubeletDir}/heads` }
  return { volumes: await openVolumes(store.store, driver, holders), asked, kubeletDir }
}

function request({ kubeletDir }: Lab, attributes: Record<string, string>, ephemeral = false): PublishRequest {
  const pod = createPod('team-a')
  const target = targetOf(kubeletDir, pod)
  const { volume_context } = publishRequest({ volumeId: 'pv', target, pod, attributes, ephemeral })
  const common = { volumeId: 'pv', target, accessMode: 'SINGLE_NODE_MULTI_WRITER', mountFlags: [] } as const
  const attributesOfPod = volume_context as Record<string, string>
  return { ...common, readOnly: attributes.tag !== 'HEAD', mountGroup: undefined, attributes: attributesOfPod }
}

for (const [what, attributes, ephemeral] of [
  ['an inline volume', { label: 'web', tag: 'v1' }, true],
  ['a static volume', { label: 'team-a/web', tag: 'v1' }, false],
  ['HEAD', { label: 'team-a/web', tag: 'HEAD' }, false],
] as const)
  test(`${what} of its own label is refused to a namespace that is not the one that has it`, async () => {
    const lab = await createLab()
    const wish = request(lab, attributes, ephemeral)
    await assert.rejects(publishVolume(lab.volumes, wish, NEVER), { code: 'permission' })
    assert.deepEqual(lab.asked, [attributes.tag === 'HEAD' ? 'HEAD' : 'team-a'])
    assert.equal(fs.existsSync(wish.target), false)
  })

test('what others show, and what there is not, is nobody’s inheritance', async () => {
  const lab = await createLab()
  for (const [attributes, ephemeral] of [
    [{ label: 'library/base', tag: 'v1' }, true],
    [{ label: 'team-b/shown', tag: 'v1' }, false],
  ] as const) {
    const wish = request(lab, attributes, ephemeral)
    await publishVolume(lab.volumes, wish, NEVER)
    await unpublishVolume(lab.volumes, wish, NEVER)
  }
  const none = request(lab, { label: 'none', tag: 'v1' }, true)
  await assert.rejects(publishVolume(lab.volumes, none, NEVER), { code: 'not-found' })
  assert.deepEqual(lab.asked, [])
})

test('a repeat for a pod that has its volume is answered without asking', async () => {
  const lab = await createLab()
  const wish = request(lab, { label: 'web', tag: 'v1' }, true)
  await publishVolume({ ...lab.volumes, holders: SOLE_HOLDER }, wish, NEVER)
  await publishVolume(lab.volumes, wish, NEVER)
  assert.deepEqual(lab.asked, [])
  await unpublishVolume(lab.volumes, wish, NEVER)
})
