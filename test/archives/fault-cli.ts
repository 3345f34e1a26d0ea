import { armFaults } from '../../src/host/faults.ts'

/** The command line with the fault that STRATUM_FAULT asks for. */
armFaults(process.env.STRATUM_FAULT)
await import('../../src/main.ts')
