import * as v from 'valibot'
import { StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import { type ArchiveFiles, readJson } from './archive-files.ts'
import { malformed } from './errors.ts'

/** What a container image in an archive consists of: the layers from the lowest up. */
export interface ImageLayers {
  readonly layers: readonly LayerFile[]
}

export interface LayerFile {
  /** In the archive. */
  readonly path: string
  /** Of the file as it is, where the manifest says it; `sha256:<hex>`. */
  readonly digest: string | undefined
  /** Of its bytes without their compression. */
  readonly diffId: string
}

/** OCI image-spec v1.1: image-layout.md, image-index.md, manifest.md, config.md; Docker's manifests have the same fields. */
const Digest = v.pipe(v.string(), v.regex(/^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/, 'no digest'))
const Platform = v.object({ os: v.string(), architecture: v.string(), variant: v.optional(v.string()) })
const Descriptor = v.object({
  mediaType: v.optional(v.string(), ''),
  digest: Digest,
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  platform: v.optional(Platform),
  annotations: v.optional(v.record(v.string(), v.string()), {}),
})
const Index = v.object({ manifests: v.array(Descriptor) })
const Manifest = v.object({ config: Descriptor, layers: v.array(Descriptor) })
const Config = v.object({
  os: v.string(),
  architecture: v.string(),
  variant: v.optional(v.string()),
  rootfs: v.object({ diff_ids: v.array(Digest) }),
})
const DockerManifest = v.array(
  v.object({ Config: v.string(), RepoTags: v.nullish(v.array(v.string())), Layers: v.array(v.string()) }),
)

type Descriptor = v.InferOutput<typeof Descriptor>
type Platform = v.InferOutput<typeof Platform>

const INDEX_TYPES: readonly string[] = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]
const INDEX_DEPTH_MAX = 3
const IMAGES_MAX = 1000
const LAYERS_MAX = 4096
/** Node's names of architectures as images spell them (Go's). */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }

export function machinePlatform(): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch }
}

/** The layers of the image that an archive holds, or undefined where it is no archive of images. @throws malformed, integrity, usage */
export async function readImageLayers(
  files: ArchiveFiles,
  platform: string | undefined,
): Promise<ImageLayers | undefined> {
  if (files.find('oci-layout') !== undefined && files.find('index.json') !== undefined)
    return readOciImage(files, platform)
  if (files.find('manifest.json') === undefined) return undefined
  return readDockerImage(files)
}

async function readOciImage(files: ArchiveFiles, platform: string | undefined): Promise<ImageLayers> {
  const found: Descriptor[] = []
  await collectImages(files, parse(Index, await readJson(files, 'index.json'), 'index.json'), found, INDEX_DEPTH_MAX)
  const image = await chooseImage(files, found, platform)
  const manifest = await readManifest(files, image)
  const config = parse(Config, await readBlobJson(files, manifest.config), `the config of image ${image.digest}`)
  const diffIds = config.rootfs.diff_ids
  checkLayers(manifest.layers.length, diffIds.length)
  return {
    layers: manifest.layers.map(({ digest }, i) => ({ path: blobPath(digest), digest, diffId: diffIds[i] })),
  }
}

async function collectImages(
  files: ArchiveFiles,
  { manifests }: v.InferOutput<typeof Index>,
  found: Descriptor[],
  depth: number,
): Promise<void> {
  for (const descriptor of manifests) {
    if (isAttestation(descriptor) || found.some(({ digest }) => digest === descriptor.digest)) continue
    if (!INDEX_TYPES.includes(descriptor.mediaType)) found.push(descriptor)
    else if (depth === 0) throw malformed('its indexes of images lie too deep in each other')
    else {
      const index = parse(Index, await readBlobJson(files, descriptor), descriptor.digest)
      await collectImages(files, index, found, depth - 1)
    }
    if (found.length > IMAGES_MAX) throw malformed(`it has more than ${IMAGES_MAX} images`)
  }
}

/** What BuildKit puts beside an image: it says how it was built, and is no image. */
function isAttestation({ annotations, platform }: Descriptor): boolean {
  return annotations['vnd.docker.reference.type'] === 'attestation-manifest' || platform?.os === 'unknown'
}

/** The only image, or the one for the platform that is asked for or that this machine has. */
async function chooseImage(
  files: ArchiveFiles,
  images: readonly Descriptor[],
  platform: string | undefined,
): Promise<Descriptor> {
  if (images.length === 0) throw malformed('there is no image in the archive')
  if (images.length === 1 && platform === undefined) return images[0]
  const wanted = platform ?? formatPlatform(machinePlatform())
  const platforms = await Promise.all(images.map(image => platformOf(files, image)))
  const matching = images.filter((_, i) => platforms[i] === wanted || platforms[i].startsWith(`${wanted}/`))
  if (matching.length === 1) return matching[0]
  const all = images.map((image, i) => `${platforms[i]} ${nameOf(image)}`)
  const count = matching.length === 0 ? 'none' : String(matching.length)
  throw new StratumError(
    'usage',
    `the archive holds ${images.length} images, of which ${count} for ${wanted}: ${all.join(', ')}`,
    {
      hint:
        matching.length === 0
          ? 'Name the platform: --platform linux/<architecture>'
          : 'Take the one that is meant out first: skopeo copy oci-archive:<archive>:<name> oci-archive:<one>',
      details: { images: all },
    },
  )
}

async function platformOf(files: ArchiveFiles, image: Descriptor): Promise<string> {
  if (image.platform !== undefined) return formatPlatform(image.platform)
  const { config } = await readManifest(files, image)
  return formatPlatform(parse(Config, await readBlobJson(files, config), `the config of image ${image.digest}`))
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(part => part !== undefined).join('/')
}

function nameOf({ digest, annotations }: Descriptor): string {
  return toUser(annotations['org.opencontainers.image.ref.name'] ?? digest)
}

async function readManifest(files: ArchiveFiles, image: Descriptor): Promise<v.InferOutput<typeof Manifest>> {
  return parse(Manifest, await readBlobJson(files, image), `the manifest ${image.digest}`)
}

function readBlobJson(files: ArchiveFiles, { digest }: Descriptor): Promise<unknown> {
  return readJson(files, blobPath(digest), digest)
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}

/** What `docker save` wrote before it wrote OCI layouts. Undefined where manifest.json is that of something else. */
async function readDockerImage(files: ArchiveFiles): Promise<ImageLayers | undefined> {
  const json = await readJson(files, 'manifest.json').catch(() => undefined)
  const { success, output } = v.safeParse(DockerManifest, json)
  if (!success || output.length === 0) return undefined
  if (!output.every(({ Config, Layers }) => [Config, ...Layers].every(path => files.find(path) !== undefined)))
    return undefined
  if (output.length > 1) {
    const names = output.map(({ RepoTags, Config }) => toUser(RepoTags?.[0] ?? Config))
    throw new StratumError('usage', `the archive holds ${output.length} images: ${names.join(', ')}`, {
      hint: 'Save the one that is meant alone: docker save <image> | stratum import - --label <label>',
      details: { images: names },
    })
  }
  const [{ Config: configPath, Layers }] = output
  const name = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(configPath)?.[1]
  const text = await readJson(files, configPath, name === undefined ? undefined : `sha256:${name}`)
  const diffIds = parse(Config, text, toUser(configPath)).rootfs.diff_ids
  checkLayers(Layers.length, diffIds.length)
  return { layers: Layers.map((path, i) => ({ path, digest: undefined, diffId: diffIds[i] })) }
}

function checkLayers(layers: number, diffIds: number): void {
  if (layers > LAYERS_MAX) throw malformed(`the image has ${layers} layers; at most ${LAYERS_MAX} are read`)
  if (layers !== diffIds) throw malformed(`the image has ${layers} layers, but its config speaks of ${diffIds}`)
}

function parse<Schema extends v.GenericSchema>(schema: Schema, json: unknown, what: string): v.InferOutput<Schema> {
  const { success, output, issues } = v.safeParse(schema, json)
  if (success) return output
  const path = v.getDotPath(issues[0]) ?? ''
  throw malformed(`${what} is not what it should be${path === '' ? '' : `, at ${path}`}: ${issues[0].message}`)
}
