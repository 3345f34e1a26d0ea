import { readText } from './files.ts'

/** Set by tests whose machine does not really boot: an id, or the absolute path of a file that holds one. */
const OVERRIDE = 'STRATUM_BOOT_ID'

let known: string | undefined

/** The id of this boot of the machine. */
export function bootId(): string {
  known ??= readBootId(process.env[OVERRIDE] ?? '/proc/sys/kernel/random/boot_id')
  return known
}

function readBootId(idOrFile: string): string {
  return idOrFile.startsWith('/') ? readText(idOrFile).trim() : idOrFile
}
