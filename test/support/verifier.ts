import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** test/verifier/verify.py, the second implementation of docs/format.md. */
const PROGRAM = path.resolve(import.meta.dirname, '../verifier/verify.py')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'verifier-'))

/** What it says of a tree. */
export interface Verified {
  readonly id: string
  readonly merkle_root: string
  readonly files: number
  readonly directories: number
  readonly bytes: number
  readonly image_digest: string
}

/** A tree with the image that the verifier wrote of it, and its dump (latin1). */
export interface VerifiedTree extends Verified {
  readonly image: Buffer
  readonly dump: string
}

export function verifyDirectory(directory: string): VerifiedTree {
  return verify('tree', directory)
}

/** The same of a mount, of which nobody needs an image. */
export function verifyMount(mountpoint: string): Pick<VerifiedTree, 'id' | 'dump'> {
  const dump = path.join(folder, 'dump')
  const { id } = JSON.parse(run(['tree', mountpoint, '--no-image', '--dump', dump])) as Verified
  return { id, dump: fs.readFileSync(dump, 'latin1') }
}

/** @param dump composefs-dump(5), latin1 */
export function verifyDump(dump: string): VerifiedTree {
  const file = path.join(folder, 'input.dump')
  fs.writeFileSync(file, dump, 'latin1')
  return verify('dump', file)
}

function verify(what: 'tree' | 'dump', source: string): VerifiedTree {
  const [image, dump] = [path.join(folder, 'image'), path.join(folder, 'dump')]
  const output = run([what, source, '--write', image, '--dump', dump])
  return { ...(JSON.parse(output) as Verified), image: fs.readFileSync(image), dump: fs.readFileSync(dump, 'latin1') }
}

/** The entries of a tree in hexadecimal. */
export function entriesOfDump(dump: string): string[] {
  const file = path.join(folder, 'input.dump')
  fs.writeFileSync(file, dump, 'latin1')
  return run(['dump', file, '--entries']).trim().split('\n')
}

export interface CheckedStore {
  readonly ok: boolean
  readonly problems: readonly string[]
  readonly commits: number
  readonly objects: number
  readonly labels: number
  readonly refs: number
}

export function checkStore(store: string, { quick = false } = {}): CheckedStore {
  const { stdout, stderr, status } = spawnSync('python3', [PROGRAM, 'store', store, ...(quick ? ['--quick'] : [])], {
    encoding: 'utf8',
  })
  if (status !== 0 && status !== 1) throw new Error(stderr)
  return JSON.parse(stdout) as CheckedStore
}

/** The fs-verity digests of files as the fsverity program computes them, by path. */
export function digestsOfProgram(files: readonly string[]): Map<string, string> {
  const digests = new Map<string, string>()
  for (let at = 0; at < files.length; at += 2000) {
    const batch = files.slice(at, at + 2000)
    const output = execFileSync('fsverity', ['digest', '--compact', ...batch], { encoding: 'utf8', maxBuffer: 2 ** 28 })
    output
      .trim()
      .split('\n')
      .forEach((digest, i) => digests.set(batch[i], digest))
  }
  return digests
}

/** @throws with what it says when it refuses */
function run(args: readonly string[]): string {
  return execFileSync('python3', [PROGRAM, ...args], {
    encoding: 'latin1',
    maxBuffer: 2 ** 30,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
