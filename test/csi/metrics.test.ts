import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createVolumesLab } from '../support/volumes-lab.ts'

/** What a scrape of the plugin shows after a pod wrote and a snapshot was made: alerts and the dashboard live on it. */
test('space, start, garbage collection, mounts and commits are measured', async () => {
  const port = await freePort()
  await using lab = await createVolumesLab(['--http', `127.0.0.1:${port}`, '--gc-interval', '60'])
  const { volume_id: volume } = await lab.create('pvc-1')
  const target = await lab.publish(volume)
  fs.writeFileSync(`${target}/a`, 'x'.repeat(5000))
  fs.writeFileSync(`${target}/b`, 'y')
  await lab.snapshot('one', volume)
  const metrics = await scrapeUntil(port, values => (values.get('stratum_gc_last_success_timestamp_seconds') ?? 0) > 0)
  const value = (name: string): number => metrics.get(name) ?? Number.NaN
  const { blocks, bavail, bsize, files } = fs.statfsSync(lab.store.store.path)
  assert.equal(value('stratum_store_file_system_bytes{kind="size"}'), blocks * bsize)
  assert.ok(Math.abs(value('stratum_store_file_system_bytes{kind="available"}') - bavail * bsize) < 2 ** 34)
  assert.equal(value('stratum_store_file_system_inodes{kind="size"}'), files)
  assert.ok(value('stratum_recovery_duration_seconds') > 0)
  assert.ok(Math.abs(value('stratum_gc_last_success_timestamp_seconds') - Date.now() / 1000) < 600)
  assert.equal(value('stratum_published_targets{kind="head"}'), 1)
  assert.equal(value('stratum_commit_duration_seconds_count{consistency="freeze",result="ok"}'), 1)
  assert.equal(value('stratum_commit_pause_seconds_count'), 1)
  assert.equal(value('stratum_commit_files_total'), 2)
  assert.equal(value('stratum_commit_bytes_total'), 5001)
  assert.equal(value('stratum_csi_rpc_duration_seconds_count{method="Node/NodePublishVolume",code="OK"}'), 1)
  assert.equal(value('stratum_build_info{version="0.1.0"}'), 1)
  await lab.unpublish(volume, target)
})

async function scrapeUntil(port: number, done: (values: Map<string, number>) => boolean): Promise<Map<string, number>> {
  for (let tries = 0; tries < 300; tries++) {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    const values = new Map(
      [...text.matchAll(/^(\w+(?:\{.*\})?) (\S+)$/gm)].map(([, name, value]) => [name, Number(value)]),
    )
    if (done(values)) return values
    await sleep(100)
  }
  throw new Error('waited half a minute')
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}
