import { readText } from './files.ts'

/** Set by tests whose machine does not really boot. */
const OVERRIDE = 'STRATUM_BOOT_ID'

let known: string | undefined

/** The id of this boot of the machine. */
export function bootId(): string {
  known ??= process.env[OVERRIDE] ?? readText('/proc/sys/kernel/random/boot_id').trim()
  return known
}
