import type { StagedFolder } from '../objects/place-objects.ts'
import { openStagedObjects, type StagedObjects } from '../objects/staged-objects.ts'
import type { Store } from '../store/layout.ts'
import type { Staging } from '../store/staging.ts'
import type { Change } from '../tree/entry.ts'
import { type ArchiveFiles, archiveFiles, hashed } from './archive-files.ts'
import { type ByteReader, createByteReader } from './byte-reader.ts'
import { decompressed } from './decompress.ts'
import { inside, malformed } from './errors.ts'
import { type LayerFile, readImageLayers } from './image-manifest.ts'
import { readLayer, readTree, type TreeReading } from './read-tree.ts'
import { BLOCK, isTarBlock } from './tar-header.ts'
import { createBudget, fillMissing } from './tree-builder.ts'

export interface ArchiveOptions {
  /** An archive of images is not looked into: it is the tree. */
  readonly plain: boolean
  /** `linux/arm64`: which image of several; else that of this machine. */
  readonly platform: string | undefined
  readonly signal?: AbortSignal | undefined
  readonly onFile?: ((bytes: number) => void) | undefined
}

export interface ArchiveTree {
  /** The whole tree, as changes of nothing. */
  readonly tree: Change
  readonly staged: readonly StagedFolder[]
  /** Names whose ACL could not be kept. */
  readonly lost: readonly string[]
}

/**
 * Reads a tar archive, compressed or not, or a container image in one, from its first byte to its last; what it is, its bytes tell.
 * Files go into the staging area as they come. The blobs of an image do so too, because its layers may come in any order, and are
 * read again from there; they do not go into the store. @throws malformed, integrity, usage (several images), unsupported, no-space
 */
export async function readArchive(
  store: Store,
  staging: Staging,
  source: AsyncIterable<Uint8Array>,
  options: ArchiveOptions,
): Promise<ArchiveTree> {
  const input = createByteReader(decompressed(createByteReader(source)))
  await requireTar(input)
  using objects = openStagedObjects(store, `${staging.path}/objects`)
  const { signal, onFile } = options
  const reading: TreeReading = { objects, budget: createBudget(), signal, onFile, lost: [] }
  const tree = await readTree(input, reading)
  const files = archiveFiles(store, objects, tree)
  const image = options.plain ? undefined : await readImageLayers(files, options.platform)
  if (image !== undefined) {
    using layered = openStagedObjects(store, `${staging.path}/layers`)
    const lost: string[] = []
    const layers = await readLayers(files, image.layers, { ...reading, objects: layered, lost })
    return { tree: layers, staged: [folderOf(layered)], lost }
  }
  fillMissing(tree)
  return { tree, staged: [folderOf(objects)], lost: reading.lost }
}

async function requireTar(input: ByteReader): Promise<void> {
  const block = await input.peek(BLOCK)
  if (block.length === 0) throw malformed('the archive is empty')
  if (!isTarBlock(block))
    throw malformed('this is no tar archive', 'tar, tar.gz, tar.zst and container images in them are read')
}

async function readLayers(files: ArchiveFiles, layers: readonly LayerFile[], reading: TreeReading): Promise<Change> {
  const tree: Change = { children: new Map() }
  for (const [i, layer] of layers.entries()) {
    try {
      await addLayer(files, layer, tree, reading)
    } catch (error) {
      throw inside(error, `layer ${i + 1} of ${layers.length} (${layer.digest ?? layer.path})`)
    }
  }
  fillMissing(tree)
  return tree
}

/** A blob with another digest is that first of all, whatever else is wrong with it. */
async function addLayer(files: ArchiveFiles, layer: LayerFile, tree: Change, reading: TreeReading): Promise<void> {
  const file = files.find(layer.path)
  if (file === undefined) throw malformed('it is not in the archive')
  const blob = layer.digest === undefined ? undefined : hashed(files.open(file), layer.digest, 'it')
  const plain = hashed(decompressed(createByteReader(blob?.pieces ?? files.open(file))), layer.diffId, 'it, unpacked,')
  try {
    await readLayer(createByteReader(plain.pieces), tree, reading)
  } finally {
    await blob?.finish()
  }
  await plain.finish()
}

function folderOf({ path, written, reliedOn }: StagedObjects): StagedFolder {
  return { path, digests: [...written], reliedOn: [...reliedOn] }
}
