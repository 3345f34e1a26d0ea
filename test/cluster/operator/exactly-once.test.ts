import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseLabel } from '../../../src/names/label.ts'
import { parseTag } from '../../../src/names/tag.ts'
import { readLog } from '../../../src/refs/log.ts'
import { readTag } from '../../../src/refs/tags.ts'
import { listEntries } from '../../../src/kube/node/request-journal.ts'
import { createRandom } from '../../support/random.ts'
import { firstSeed, scaled } from '../../support/scale.ts'
import { startApi } from './support/api.ts'
import { ask, ended, request, startNode, verdict } from './support/node-lab.ts'

/** A node is killed while it carries out requests; whoever comes after it finds out how far it came. */
const api = await startApi()
after(() => api[Symbol.asyncDispose]())
await api.createNamespace('team-a')
await api.createNode('node-1')
const node = await startNode(api, 'node-1')
after(() => node[Symbol.asyncDispose]())
const WEB = parseLabel('team-a/web')
const head = await node.head('team-a/web')
await node.stop()
const { server, namespace } = await api.as('node', 'node-1')
const config = path.join(api.folder, 'process.json')
fs.writeFileSync(
  config,
  JSON.stringify({
    port: api.port,
    ca: server.ca,
    token: server.token(),
    namespace,
    nodeName: 'node-1',
    store: node.store.store.path,
    log: `${api.folder}/process.log`,
  }),
)

let count = 0
async function askForCommit(): Promise<string> {
  const name = `r${++count}`
  fs.writeFileSync(`${head}/file-${count}`, `content of ${count}`.repeat(30))
  await ask(api, 'team-a', name, { label: 'web', consistency: 'Live', tags: [{ name }] })
  return name
}

/** Runs a node that dies at its n-th change of the disk, or when the request ended. Returns whether it died. */
async function runUntil(fault: string | undefined, name: string): Promise<boolean> {
  const env = { ...process.env, ...(fault === undefined ? {} : { STRATUM_FAULT: fault }) }
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'support/node-process.ts'), config], {
    env,
    stdio: 'ignore',
  })
  const exit = once(child, 'exit')
  const done = new AbortController()
  const finished = (async (): Promise<void> => {
    while (!done.signal.aborted && (await request(api, 'team-a', name))?.status?.completionTime === undefined)
      await sleep(30)
  })()
  await Promise.race([exit, finished])
  const died = child.signalCode === 'SIGKILL'
  done.abort()
  child.kill('SIGKILL')
  await exit
  await finished
  return died
}

/** The request ended well, its commit was made once, and what the status says is what is in the store. */
async function check(name: string): Promise<void> {
  const object = await ended(api, 'team-a', name)
  assert.equal(verdict(object, 'Ready'), 'True Completed', name)
  const entries = readLog(node.store.store, WEB).filter(({ notes }) => notes?.request === object.metadata.uid)
  assert.equal(entries.length, 1, `${name} was committed ${entries.length} times`)
  assert.equal(entries[0].refs.HEAD.to, object.status?.commitId)
  assert.equal(readTag(node.store.store, WEB, parseTag(name)), object.status?.commitId)
  assert.equal(object.status?.size?.files, count + 1)
}

test('killed at any change of the disk, a request makes one commit', { timeout: 600_000 }, async () => {
  const strides = scaled(14)
  let deaths = 0
  for (let i = 0; i < strides; i++) {
    const at = 1 + i * 4
    const name = await askForCommit()
    if (await runUntil(`kill@${at}`, name)) deaths++
    await node.start()
    await check(name)
    await node.stop()
  }
  assert.ok(deaths > strides / 2, `only ${deaths} of ${strides} died`)
  assert.ok(listEntries(node.store.store).every(({ outcome }) => outcome !== undefined))
})

test('killed at any moment with several requests under way, each makes one commit', { timeout: 600_000 }, async () => {
  const random = createRandom(firstSeed())
  const names: string[] = []
  for (let i = 0; i < scaled(6); i++) {
    for (let n = 0; n < 3; n++) names.push(await askForCommit())
    const child = spawn(process.execPath, [path.join(import.meta.dirname, 'support/node-process.ts'), config], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const exit = once(child, 'exit')
    await Promise.race([once(child.stdout, 'data'), exit])
    await sleep(random.below(400))
    child.kill('SIGKILL')
    await exit
  }
  await node.start()
  for (const name of names) {
    const object = await ended(api, 'team-a', name)
    assert.equal(verdict(object, 'Ready'), 'True Completed', name)
    const entries = readLog(node.store.store, WEB).filter(({ notes }) => notes?.request === object.metadata.uid)
    assert.equal(entries.length, 1, `${name} was committed ${entries.length} times`)
    assert.equal(readTag(node.store.store, WEB, parseTag(name)), object.status?.commitId)
  }
  await node.stop()
})
