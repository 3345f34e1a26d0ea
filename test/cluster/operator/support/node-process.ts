import fs from 'node:fs'
import { armFaults } from '../../../../src/host/faults.ts'
import { connectNode } from '../../../../src/kube/connect-node.ts'
import { createTestStore } from '../../../support/store.ts'
import { quiet, volumesOf } from './node-lab.ts'

/**
 * A node's part in the cluster as a process of its own, to be killed: `node-process.ts <file>`, where the file holds a NodeProcess. STRATUM_FAULT says
 * where it dies.
 */
export interface NodeProcess {
  readonly port: number
  readonly ca: string
  readonly token: string
  readonly namespace: string
  readonly nodeName: string
  readonly store: string
  readonly log: string
}

const file = process.argv[2]
const { port, ca, token, namespace, nodeName, store, log } = JSON.parse(fs.readFileSync(file, 'utf8')) as NodeProcess
armFaults(process.env.STRATUM_FAULT)
const server = { address: { host: '127.0.0.1', port }, ca, token: () => token }
const opened = createTestStore(store)
const cluster = connectNode({
  store: opened.store,
  nodeName,
  log: quiet(log),
  cluster: { server, namespace },
  timing: { backoffMs: [50, 500] },
})
const running = cluster.start(volumesOf(opened, nodeName, cluster.holders))
await running.synced
process.stdout.write('ready\n')
