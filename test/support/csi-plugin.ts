import fs from 'node:fs'
import { loadProtocols } from '../../src/csi/protocol.ts'
import { createCallGate, wrapService } from '../../src/csi/call.ts'
import { nodeMethods } from '../../src/csi/node.ts'
import { serveSocket } from '../../src/csi/server.ts'
import { createVolumeLocks } from '../../src/csi/volume-locks.ts'
import { armFaults } from '../../src/host/faults.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { openVolumes } from '../../src/volumes/recover.ts'
import { SOLE_HOLDER } from '../../src/volumes/volumes.ts'

/** The Node service alone, in a process of its own that can be killed: `csi-plugin.ts <store> <socket> <kubelet's folder or ->`. */
const [store, socket, kubeletDir] = process.argv.slice(2)
process.umask(0o022)
const started = performance.now()
const driver = {
  name: 'stratum.csi.dev',
  nodeId: 'node-1',
  kubeletDir: kubeletDir === '-' ? undefined : kubeletDir,
  headsDir: `${kubeletDir === '-' ? store : kubeletDir}/plugins/stratum.csi.dev-heads`,
}
const log = createLogger({ level: process.env.LOG === undefined ? 'error' : 'info', component: 'node' })
const metrics = createMetrics()
const volumes = await openVolumes(openStore(store), driver, SOLE_HOLDER)
const context = { log, metrics, locks: createVolumeLocks(), gate: createCallGate() }
const protocols = loadProtocols()
const methods = nodeMethods(volumes, metrics)
await serveSocket(
  `unix://${socket}`,
  protocols,
  server => server.addService(protocols.csi.Node.service, wrapService(context, 'Node', methods)),
  context.gate,
)
process.stdout.write(`${JSON.stringify({ ready: true, milliseconds: performance.now() - started })}\n`)
process.on('SIGUSR1', () => {
  armFaults(fs.readFileSync(`${socket}.fault`, 'utf8'))
  process.stdout.write(`${JSON.stringify({ armed: true })}\n`)
})
process.on('SIGUSR2', () => {
  process.stdout.write(`${JSON.stringify({ rss: process.memoryUsage().rss })}\n`)
})
