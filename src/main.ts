import { main } from './cli/main.ts'

process.umask(0o022) // the modes of what lies in a store and of mountpoints do not depend on who calls
process.exitCode = await main(process.argv.slice(2))
