import { execFileSync } from 'node:child_process'
import path from 'node:path'

/** mkcomposefs and composefs-info 1.0.8, built by scripts/oracle.sh (which `npm test` runs first). */
const folder = execFileSync('sh', [path.resolve(import.meta.dirname, '../../scripts/oracle.sh')], {
  encoding: 'utf8',
}).trim()

/** The image that mkcomposefs makes of a dump, and its digest. */
export function oracleImage(dump: string, image: string): string {
  return execFileSync(`${folder}/mkcomposefs`, ['--from-file', '--print-digest', '-', image], {
    input: Buffer.from(dump, 'latin1'),
    encoding: 'latin1',
  }).trim()
}

/** The same of a directory; hard links come out as separate files. */
export function oracleImageOfDirectory(directory: string, image: string): string {
  return execFileSync(`${folder}/mkcomposefs`, ['--print-digest', directory, image], { encoding: 'latin1' }).trim()
}

export function oracleDump(image: string): string {
  return execFileSync(`${folder}/composefs-info`, ['dump', image], { encoding: 'latin1', maxBuffer: 2 ** 31 })
}
