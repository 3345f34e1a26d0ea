import { main } from '../../src/cli/main.ts'
import { armFaults } from '../../src/host/faults.ts'

/** `stratum node` as it is, but that a parent can say when the next fault counts from (`kill@3`). */
process.on('message', text => {
  armFaults(String(text))
  process.send?.('armed')
})
process.channel?.unref()
process.umask(0o022)
process.exitCode = await main(['node', ...process.argv.slice(2)])
process.disconnect?.()
