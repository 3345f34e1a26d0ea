import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { StratumError } from '../../src/errors/stratum-error.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { publishVolume } from '../../src/volumes/publish.ts'
import type { PublishRequest } from '../../src/volumes/publish-request.ts'
import { openVolumes } from '../../src/volumes/recover.ts'
import { unpublishVolume } from '../../src/volumes/unpublish.ts'
import { type HolderArbiter, SOLE_HOLDER } from '../../src/volumes/volumes.ts'
import { createTestStore } from '../support/store.ts'

/** Where no kubelet is, any target is taken; and a HEAD that another node holds is not mounted. */
const NEVER = new AbortController().signal

function requestFor(target: string, attributes: Record<string, string>): PublishRequest {
  const common = { volumeId: 'pv', target, accessMode: 'SINGLE_NODE_MULTI_WRITER', mountFlags: [] } as const
  return { ...common, readOnly: attributes.tag !== undefined, mountGroup: undefined, attributes }
}

test('a HEAD that another node holds is not mounted here, its tags are', async () => {
  const store = createTestStore()
  await store.importFiles('web:v1', { file: 'one' })
  const asked: string[] = []
  const holders: HolderArbiter = {
    async take(label) {
      asked.push(label)
      throw new StratumError('other-holder', `${label} is held by node-2`)
    },
    admit: async () => undefined,
    release: async () => undefined,
  }
  const driver = { name: 'd', nodeId: 'n', kubeletDir: undefined, headsDir: `${store.scratch}/heads` }
  const volumes = await openVolumes(store.store, driver, holders)
  const target = `${store.scratch}/target`
  await assert.rejects(publishVolume(volumes, requestFor(target, { label: 'web' }), NEVER), { code: 'other-holder' })
  assert.equal(fs.existsSync(target), false)
  assert.equal(fs.existsSync(driver.headsDir), false)
  await publishVolume(volumes, requestFor(target, { label: 'web', tag: 'v1' }), NEVER)
  assert.deepEqual(asked, ['web'])
  await unpublishVolume(volumes, { volumeId: 'pv', target }, NEVER)
  assert.ok(!readMounts().some(({ mountpoint }) => mountpoint === target))
})

test('a pod of a namespace that was made again does not get the tags of the one before by an inline volume', async () => {
  const store = createTestStore()
  await store.importFiles('team-a/web:v1', { file: 'secret' })
  const asked: string[] = []
  const holders: HolderArbiter = {
    ...SOLE_HOLDER,
    async admit(label) {
      asked.push(label)
      throw new StratumError('permission', 'they belong to an earlier namespace')
    },
  }
  const driver = { name: 'd', nodeId: 'n', kubeletDir: undefined, headsDir: `${store.scratch}/heads` }
  const volumes = await openVolumes(store.store, driver, holders)
  const target = `${store.scratch}/target`
  const inline = {
    label: 'web',
    tag: 'v1',
    'csi.storage.k8s.io/ephemeral': 'true',
    'csi.storage.k8s.io/pod.namespace': 'team-a',
    'csi.storage.k8s.io/pod.name': 'p',
    'csi.storage.k8s.io/pod.uid': '11111111-1111-1111-1111-111111111111',
  }
  await assert.rejects(publishVolume(volumes, requestFor(target, inline), NEVER), { code: 'permission' })
  assert.deepEqual(asked, ['team-a/web'])
  assert.equal(fs.existsSync(target), false)
})

test('the name of a node is a topology value', async () => {
  const store = createTestStore()
  const driver = { name: 'd', nodeId: 'n'.repeat(64), kubeletDir: undefined, headsDir: `${store.scratch}/heads` }
  await assert.rejects(openVolumes(store.store, driver, SOLE_HOLDER), { code: 'usage' })
})
