import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { StratumError } from '../../src/errors/stratum-error.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { publishVolume } from '../../src/volumes/publish.ts'
import type { PublishRequest } from '../../src/volumes/publish-request.ts'
import { openVolumes } from '../../src/volumes/recover.ts'
import { unpublishVolume } from '../../src/volumes/unpublish.ts'
import type { HolderArbiter } from '../../src/volumes/volumes.ts'
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
    release: async () => undefined,
    requireNamespace: async () => undefined,
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

test('the name of a node is a topology value', async () => {
  const store = createTestStore()
  const driver = { name: 'd', nodeId: 'n'.repeat(64), kubeletDir: undefined, headsDir: `${store.scratch}/heads` }
  const holders: HolderArbiter = {
    take: async () => undefined,
    release: async () => undefined,
    requireNamespace: async () => undefined,
  }
  await assert.rejects(openVolumes(store.store, driver, holders), { code: 'usage' })
})
