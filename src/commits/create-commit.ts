import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import type { Digest } from '../hashes/verity.ts'
import { renameNew } from '../host/descriptors.ts'
import { step } from '../host/faults.ts'
import {
  makeDirectory,
  readTextIfExists,
  rename,
  replaceFile,
  syncDescriptorAside,
  syncDirectory,
  writeAll,
} from '../host/files.ts'
import { nodePath } from '../names/text.ts'
import { planImage } from '../images/layout.ts'
import { writeImage } from '../images/write-image.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { placeObjects, type StagedFolder, syncObjects } from '../objects/place-objects.ts'
import { paths, type Store } from '../store/layout.ts'
import type { Staging } from '../store/staging.ts'
import { trashPath } from '../store/trash.ts'
import type { TreeHashes } from '../tree/hash-tree.ts'
import type { Tree } from '../tree/tree.ts'
import { type CommitMetadata, formatMetadata, parseMetadata } from './metadata.ts'
import { hashTreeAside } from './hash-aside.ts'

/** What a commit is made of. */
export interface CommitParts {
  readonly tree: Tree
  readonly staged: readonly StagedFolder[]
  readonly parent: CommitId | undefined
  readonly message: string | undefined
  readonly author: string | undefined
}

export interface CreatedCommit {
  readonly metadata: CommitMetadata
  /** False if a commit of the same tree was there. */
  readonly isNew: boolean
  readonly imageBytes: number
}

const IMAGE_MODE = 0o444
/** In which a thread hears of what others have done for it. */
const EVENT_LOOP_TURN_MS = 1

/**
 * Makes a commit: objects first, then image and metadata, each durable before the next is visible. The caller holds the store's shared
 * lock from before the first object was looked up until a ref names the commit. @throws integrity if a commit of that id differs
 */
export async function createCommit(store: Store, staging: Staging, parts: CommitParts): Promise<CreatedCommit> {
  const synced = syncObjects(store, parts.staged)
  synced.catch(() => undefined) // who waits for it below is told; if something else fails before, nobody does
  try {
    const hashing = hashTreeAside(parts.tree)
    const folder = `${staging.path}/commit`
    makeDirectory(folder)
    await using image = writeImageFile(parts.tree, `${folder}/commit.cfs`)
    const hashes = await besidePlacing(placeObjects(store, parts.staged, synced), hashing)
    const metadata = metadataOf(parts, hashes, image.digest)
    await image.durable
    const existing = readTextIfExists(paths.metadata(store, metadata.id))
    if (existing !== undefined) {
      compare(parseMetadata(existing, metadata.id), metadata)
      healImage(store, metadata.id, folder, image.bytes)
      syncDirectory(paths.commits(store))
      return { metadata: parseMetadata(existing, metadata.id), isNew: false, imageBytes: image.bytes }
    }
    replaceFile(`${folder}/metadata.toml`, formatMetadata(metadata))
    publish(store, metadata.id, folder)
    return { metadata, isNew: true, imageBytes: image.bytes }
  } catch (error) {
    throw toStratumError(error, 'storing the commit')
  }
}

/**
 * Does work that keeps this thread while objects get their names and these are flushed. First comes a turn of the event loop: objects that
 * are durable by now get their names in it, so that the flush goes on beside the work.
 */
async function besidePlacing<T>(placing: Promise<void>, work: () => Promise<T>): Promise<T> {
  placing.catch(() => undefined) // it is waited for below
  await sleep(EVENT_LOOP_TURN_MS)
  try {
    return await work()
  } finally {
    await placing
  }
}

function metadataOf({ parent, message, author }: CommitParts, hashes: TreeHashes, imageDigest: Digest): CommitMetadata {
  const { id, merkleRoot, files, bytes } = hashes
  const timestamp = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  return {
    id,
    merkleRoot,
    timestamp,
    parent: parent === id ? undefined : parent,
    files,
    bytes,
    imageDigest,
    message,
    author,
  }
}

interface ImageFile extends AsyncDisposable {
  readonly digest: Digest
  readonly bytes: number
  /** Kept when the image is on the disk, which goes on beside the hashing. */
  readonly durable: Promise<void>
}

function writeImageFile(tree: Tree, path: string): ImageFile {
  step('create')
  const file = fs.openSync(nodePath(path), 'wx', IMAGE_MODE)
  try {
    const layout = planImage(tree)
    const digest = writeImage(tree, layout, (piece, position) => writeAll(file, piece, position))
    const durable = syncDescriptorAside(file)
    durable.catch(() => undefined) // whoever waits for it is told
    return {
      digest,
      bytes: layout.bytes,
      durable,
      async [Symbol.asyncDispose]() {
        await durable.catch(() => undefined)
        fs.closeSync(file)
      },
    }
  } catch (error) {
    fs.closeSync(file)
    throw error
  }
}

/** The same id must mean the same tree. */
function compare(existing: CommitMetadata, made: CommitMetadata): void {
  if (existing.merkleRoot === made.merkleRoot && existing.imageDigest === made.imageDigest) return
  throw new StratumError(
    'integrity',
    `commit ${shortId(made.id)} is in the store with another Merkle root or image digest`,
    {
      hint: 'Nothing was stored. stratum verify tells whether the stored one is damaged',
    },
  )
}

/** An image that was cut or is missing is put right with the one that was just made. */
function healImage(store: Store, id: CommitId, folder: string, bytes: number): void {
  const path = paths.image(store, id)
  if (fs.statSync(nodePath(path), { throwIfNoEntry: false })?.size === bytes) return
  rename(`${folder}/commit.cfs`, path)
  syncDirectory(paths.commit(store, id))
}

function publish(store: Store, id: CommitId, folder: string): void {
  const target = paths.commit(store, id)
  try {
    renameNew(folder, target)
  } catch (error) {
    if (!isErrno(error, 'EEXIST', 'ENOTEMPTY')) throw error
    // Somebody made the same commit meanwhile, or a folder without metadata is in the way, which is none.
    if (readTextIfExists(paths.metadata(store, id)) === undefined) {
      rename(target, trashPath(store, 'damaged-commit'))
      renameNew(folder, target)
    }
  }
  syncDirectory(paths.commits(store))
}
