import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { ImportResult } from '../../src/repository/import.ts'
import type { Store } from '../../src/store/layout.ts'
import { imageBytes, importInto, newStore, objectFiles, withMount } from '../support/imported.ts'
import { oracleImage } from '../support/oracle.ts'
import { createRandom } from '../support/random.ts'
import { fillDirectory, mountTmpfs, type RealTreeOptions } from '../support/real-tree.ts'
import { firstSeed, scaled } from '../support/scale.ts'
import { checkStore, digestsOfProgram, verifyDirectory, type VerifiedTree } from '../support/verifier.ts'

const TREES = 6
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'real-trees-'))
const reference = path.join(folder, 'reference.cfs')

function assertSame(store: Store, commit: ImportResult, verified: VerifiedTree, what: string): void {
  const { id, merkleRoot, files, bytes, imageDigest } = commit.metadata
  assert.ok(imageBytes(store, commit).equals(verified.image), `${what}: the images differ`)
  assert.deepEqual(
    { id, merkleRoot, files, bytes, imageDigest },
    {
      id: verified.id,
      merkleRoot: verified.merkle_root,
      files: verified.files,
      bytes: verified.bytes,
      imageDigest: verified.image_digest,
    },
    what,
  )
}

/** Each file that the mount shows has as many names there as it says, all with one inode number. */
function assertLinks(mountpoint: string): void {
  const names = new Map<number, { seen: number; links: number }>()
  const visit = (directory: Buffer): void => {
    for (const name of fs.readdirSync(directory, 'buffer')) {
      const path = Buffer.concat([directory, Buffer.from('/'), name])
      const stat = fs.lstatSync(path)
      if (stat.isDirectory()) visit(path)
      else names.set(stat.ino, { seen: (names.get(stat.ino)?.seen ?? 0) + 1, links: stat.nlink })
    }
  }
  visit(Buffer.from(mountpoint))
  for (const [inode, { seen, links }] of names) assert.equal(seen, links, `inode ${inode}`)
}

/** Imports random directories and compares what came of it with the verifier, mkcomposefs, the fsverity program and the kernel. */
async function compare(parent: string, options: RealTreeOptions): Promise<void> {
  const store = newStore()
  for (let seed = firstSeed(); seed < firstSeed() + scaled(TREES); seed++) {
    const random = createRandom(seed)
    const directory = fs.mkdtempSync(path.join(parent, 'tree-'))
    fillDirectory(random, directory, options)
    const commit = await importInto(store, `tree/${seed}`, directory)
    assert.deepEqual(commit.unstable, [], `seed ${seed}`)
    const verified = verifyDirectory(directory)
    assertSame(store, commit, verified, `seed ${seed}`)
    assert.equal(oracleImage(verified.dump, reference), verified.image_digest, `seed ${seed}: mkcomposefs`)
    await withMount(store, commit, mountpoint => {
      const shown = verifyDirectory(mountpoint)
      assert.equal(shown.dump, verified.dump, `seed ${seed}: the mount shows something else`)
      assert.equal(shown.id, verified.id)
      assertLinks(mountpoint)
    })
    fs.rmSync(directory, { recursive: true })
  }
  assert.deepEqual(checkStore(store.path).problems, [])
  const objects = objectFiles(store)
  assert.ok(objects.length > 100)
  for (const [file, digest] of digestsOfProgram(objects))
    assert.ok(file.replace('/', '').endsWith(`${digest.slice(0, 2)}/${digest.slice(2)}`), file)
}

test('random directories on the file system of the machine: import, verifier, mkcomposefs, fsverity and kernel agree', async () => {
  await compare(folder, { names: 250, oldest: -(2 ** 31), newest: 2 ** 33 })
})

test('random directories on tmpfs, with mtimes as far away as numbers reach', async () => {
  await compare(mountTmpfs(path.join(folder, 'tmpfs')), { names: 250, oldest: -(2 ** 53) + 1, newest: 2 ** 53 - 1 })
})
