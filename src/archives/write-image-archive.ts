import { createHash } from 'node:crypto'
import type { CommitId } from '../names/commit-id.ts'
import { compressed } from './compress.ts'
import { machinePlatform } from './image-manifest.ts'
import { BLOCK, encodeHeader, MEMBER } from './tar-header.ts'

export interface ImageWriting {
  /** The tree as a tar archive. */
  readonly layer: AsyncIterable<Buffer>
  readonly id: CommitId
  /** `app:v1`: what the image is called where it is loaded. */
  readonly name: string
  write(bytes: Uint8Array, position: number): void
}

/** Nothing that is written says when: one commit under one name gives one sequence of bytes. */
const EPOCH = '1970-01-01T00:00:00Z'
const TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const
const RECORD_BYTES = 20 * BLOCK

interface Blob {
  readonly digest: string
  readonly size: number
}

/**
 * Writes an OCI image layout with one image of one layer (image-spec v1.1). The layer's name is its hash, which is known at its end: its
 * header is written last, into the place that was left for it. Returns the bytes in all.
 */
export async function writeImageArchive({ layer, id, name, write }: ImageWriting): Promise<number> {
  let at = 0
  const put = (bytes: Uint8Array): void => {
    write(bytes, at)
    at += bytes.length
  }
  const putFile = (path: string, content: string): Blob => {
    const bytes = Buffer.from(content)
    const blob = { digest: sha256(bytes), size: bytes.length }
    put(header(path.replace('*', blob.digest), MEMBER.regular, bytes.length))
    put(bytes)
    at = wholeBlocks(at)
    return blob
  }
  put(header('blobs/', MEMBER.directory, 0))
  put(header('blobs/sha256/', MEMBER.directory, 0))
  const headerAt = at
  at += BLOCK
  const { diffId, ...stored } = await putLayer(layer, put)
  at = wholeBlocks(at)
  write(header(`blobs/sha256/${stored.digest}`, MEMBER.regular, stored.size), headerAt)
  const config = putFile('blobs/sha256/*', JSON.stringify(configOf(diffId, id)))
  const manifest = putFile('blobs/sha256/*', JSON.stringify(manifestOf(config, stored)))
  putFile('index.json', JSON.stringify(indexOf(manifest, name)))
  putFile('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  const end = Math.ceil((at + 2 * BLOCK) / RECORD_BYTES) * RECORD_BYTES
  put(Buffer.alloc(end - at))
  return end
}

async function putLayer(
  layer: AsyncIterable<Buffer>,
  put: (bytes: Buffer) => void,
): Promise<Blob & { diffId: string }> {
  const plain = createHash('sha256')
  const stored = createHash('sha256')
  let size = 0
  async function* hashing(): AsyncGenerator<Buffer> {
    for await (const piece of layer) {
      plain.update(piece)
      yield piece
    }
  }
  for await (const piece of compressed(hashing(), 'gzip')) {
    stored.update(piece)
    size += piece.length
    put(piece)
  }
  return { digest: stored.digest('hex'), size, diffId: plain.digest('hex') }
}

function configOf(diffId: string, id: CommitId): object {
  return {
    created: EPOCH,
    ...machinePlatform(),
    config: { Labels: { 'stratum.commit': id } },
    rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
    history: [{ created: EPOCH, created_by: 'stratum export', comment: `commit ${id}` }],
  }
}

function manifestOf(config: Blob, layer: Blob): object {
  return {
    schemaVersion: 2,
    mediaType: TYPES.manifest,
    config: descriptor(TYPES.config, config),
    layers: [descriptor(TYPES.layer, layer)],
  }
}

function indexOf(manifest: Blob, name: string): object {
  return {
    schemaVersion: 2,
    mediaType: TYPES.index,
    manifests: [
      {
        ...descriptor(TYPES.manifest, manifest),
        platform: machinePlatform(),
        annotations: { 'org.opencontainers.image.ref.name': name },
      },
    ],
  }
}

function descriptor(mediaType: string, { digest, size }: Blob): object {
  return { mediaType, digest: `sha256:${digest}`, size }
}

function header(name: string, type: string, size: number): Buffer {
  const mode = type === MEMBER.directory ? 0o755 : 0o644
  return encodeHeader({ name, mode, uid: 0, gid: 0, size, seconds: 0, type, linkName: '', major: 0, minor: 0 })
}

function wholeBlocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK) * BLOCK
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
