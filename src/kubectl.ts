import { KUBECTL } from './cli/kubectl/tool.ts'
import { main } from './cli/main.ts'

process.exitCode = await main(process.argv.slice(2), KUBECTL)
