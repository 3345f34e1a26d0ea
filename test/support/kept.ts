import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { ImportResult } from '../../src/repository/import-with.ts'
import type { Store } from '../../src/store/layout.ts'
import { dumpOfImage, normalizeDump } from './dump.ts'
import { parseBytes } from './images.ts'
import { imageBytes, importInto, objectFiles, withMount } from './imported.ts'
import { oracleDump, oracleImage, oracleImageOfDirectory } from './oracle.ts'
import { digestsOfProgram, verifyDirectory, type VerifiedTree, verifyMount } from './verifier.ts'

const reference = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'kept-')), 'reference.cfs')
const STILL_TRIES = 4

/** A directory as it was imported, and as the verifier sees it. */
export interface Kept {
  readonly commit: ImportResult
  readonly verified: VerifiedTree
}

/**
 * Imports a directory and asserts that the commit is what the verifier and mkcomposefs make of the same directory, and that our reader of
 * images and composefs-info see the same in it.
 */
export async function importAndCompare(store: Store, label: string, directory: string): Promise<Kept> {
  const kept = await importStill(store, label, directory)
  const { commit, verified } = kept
  const { id, merkleRoot, files, bytes, imageDigest } = commit.metadata
  const { image, dump } = verified
  assert.deepEqual(
    { id, merkle_root: merkleRoot, files, bytes, image_digest: imageDigest },
    {
      id: verified.id,
      merkle_root: verified.merkle_root,
      files: verified.files,
      bytes: verified.bytes,
      image_digest: verified.image_digest,
    },
    `${label}: the verifier`,
  )
  assert.ok(imageBytes(store, commit).equals(image), `${label}: the verifier's image`)
  assert.equal(oracleImage(dump, reference), imageDigest, `${label}: mkcomposefs --from-file`)
  assert.ok(fs.readFileSync(reference).equals(image), `${label}: mkcomposefs --from-file`)
  // composefs-info 1.0.8 crashes where a path is longer than 4096 bytes.
  if (longestPath(dump) < 4000)
    assert.ok(
      normalizeDump(dumpOfImage(parseBytes(image))) === normalizeDump(oracleDump(reference)),
      `${label}: composefs-info`,
    )
  return kept
}

function longestPath(dump: string): number {
  return dump.split('\n').reduce((longest, line) => Math.max(longest, line.indexOf(' ')), 0)
}

/** Others may change a directory of the machine between two looks: it is looked at again then. */
async function importStill(store: Store, label: string, directory: string): Promise<Kept> {
  let verified = verifyDirectory(directory)
  for (let tries = 1; ; tries++) {
    const commit = await importInto(store, label, directory)
    if (commit.metadata.id === verified.id || tries === STILL_TRIES) return { commit, verified }
    const again = verifyDirectory(directory)
    if (again.id === verified.id) return { commit, verified }
    verified = again
  }
}

/** Asserts that the directory mode of mkcomposefs gives the same image, but for hard links, which it makes separate files. */
export function assertDirectoryMode({ verified }: Kept, directory: string): void {
  const digest = oracleImageOfDirectory(directory, reference)
  assert.equal(digest, oracleImage(splitLinks(verified.dump), reference), `mkcomposefs ${directory}`)
  if (!verified.dump.includes(' @')) assert.equal(digest, verified.image_digest, `mkcomposefs ${directory}`)
}

/** The dump with each further name of a hard link as a file of its own. */
export function splitLinks(dump: string): string {
  const lines = new Map<string, string[]>()
  const split = dump.split('\n').map(line => {
    const fields = line.split(' ')
    if (fields.length < 11) return line
    if (fields[2].startsWith('@')) return [fields[0], ...(lines.get(fields[8]) ?? []).slice(1)].join(' ')
    if (!fields[2].startsWith('4') || fields[2].length !== 5) fields[3] = '1'
    lines.set(fields[0], fields)
    return fields.join(' ')
  })
  return split.join('\n')
}

/** Asserts that the kernel shows at a mount of the commit what is in the directory, to the byte and nanosecond. */
export async function assertMounted(store: Store, { commit, verified }: Kept): Promise<void> {
  await withMount(store, commit, mountpoint => {
    const shown = verifyMount(mountpoint)
    if (shown.dump !== verified.dump) assert.deepEqual(shown.dump.split('\n'), verified.dump.split('\n'))
    assert.equal(shown.id, commit.metadata.id)
    assertLinks(mountpoint)
  })
}

/** Each file that the mount shows has as many names there as it says, all with one inode number. */
function assertLinks(mountpoint: string): void {
  const names = new Map<number, { seen: number; links: number }>()
  const visit = (directory: Buffer): void => {
    for (const name of fs.readdirSync(directory, 'buffer')) {
      const path = Buffer.concat([directory, Buffer.from('/'), name])
      if (path.length > 4000) continue // calls by path reach no deeper; the verifier does
      const stat = fs.lstatSync(path)
      if (stat.isDirectory()) visit(path)
      else names.set(stat.ino, { seen: (names.get(stat.ino)?.seen ?? 0) + 1, links: stat.nlink })
    }
  }
  visit(Buffer.from(mountpoint))
  for (const [inode, { seen, links }] of names) assert.equal(seen, links, `inode ${inode}`)
}

/** Asserts that the name of every object is what the fsverity program says of its bytes. Returns how many there are. */
export function assertObjects(store: Store): number {
  const objects = objectFiles(store)
  for (const [file, digest] of digestsOfProgram(objects))
    assert.ok(file.endsWith(`/${digest.slice(0, 2)}/${digest.slice(2)}`), `${file} has the digest ${digest}`)
  return objects.length
}
