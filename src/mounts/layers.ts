import fs from 'node:fs'
import os from 'node:os'
import { StratumError } from '../errors/stratum-error.ts'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { close, openDirectory } from '../host/descriptors.ts'
import { makeDirectories, removeEmptyDirectory } from '../host/files.ts'
import {
  ATTRIBUTE,
  attachMount,
  createLoopDevice,
  createMount,
  makePrivate,
  type MountOption,
  unmount,
} from '../host/mount-api.ts'
import { randomHex } from '../host/random.ts'
import { nodePath, toUser } from '../names/text.ts'

/**
 * How the kernel takes the layers: `detached` by descriptors of mounts that are attached nowhere (Linux 6.15), `attached` by the path of
 * an image mounted in a private folder (6.8), `loop` the same over a loop device (kernels that cannot mount EROFS from a file, before 6.12).
 */
export type MountForm = 'detached' | 'attached' | 'loop'

/** Forces a form, for tests of the paths that older kernels take. */
const FORM_VARIABLE = 'STRATUM_MOUNT_FORM'
/** Gives the probe of the kernel another answer, for tests. */
const RELEASE_VARIABLE = 'STRATUM_KERNEL_RELEASE'
const DETACHED_FROM = [6, 15] as const
const FILE_BACKED_FROM = [6, 12] as const
const MINIMUM = [6, 8] as const

export function kernelRelease(): string {
  return process.env[RELEASE_VARIABLE] ?? os.release()
}

export function mountForm(release = kernelRelease(), forced = process.env[FORM_VARIABLE]): MountForm {
  if (forced === 'detached' || forced === 'attached' || forced === 'loop') return forced
  if (!isAtLeast(release, MINIMUM)) {
    throw new StratumError(
      'unsupported',
      `Linux ${release} is too old: Stratum needs ${MINIMUM.join('.')}, which takes data-only layers`,
      {
        hint: 'stratum doctor lists everything that is needed',
      },
    )
  }
  if (isAtLeast(release, DETACHED_FROM)) return 'detached'
  return isAtLeast(release, FILE_BACKED_FROM) ? 'attached' : 'loop'
}

export function isAtLeast(release: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor, ownMinor] = release.split('.', 2).map(Number)
  return ownMajor > major || (ownMajor === major && ownMinor >= minor)
}

/** What is to be mounted: an image over the objects, with an upperdir above if it is writable. */
export interface Layers {
  readonly image: string
  readonly objects: string
  readonly source: string
  readonly upper?: { readonly upperdir: string; readonly workdir: string }
  /** Set-user-id bits and device files take effect. */
  readonly allowSuidAndDevices?: boolean
  /** The SELinux label that every file shows. */
  readonly securityContext?: string | undefined
}

/** Makes the mount; it is attached nowhere yet. The caller closes the descriptor. @throws unsupported, in-use (the upperdir is mounted) */
export function createLayeredMount(layers: Layers): number {
  const attributes = layers.allowSuidAndDevices ? 0 : ATTRIBUTE.noSuid | ATTRIBUTE.noDev
  const form = mountForm()
  try {
    if (form === 'detached') return createFromDescriptors(layers, attributes)
    return createFromPaths(layers, attributes, form)
  } catch (error) {
    throw explain(error, layers)
  }
}

function createFromDescriptors(layers: Layers, attributes: number): number {
  using stack = new DisposableStack()
  const keep = (descriptor: number): number => stack.adopt(descriptor, close)
  const image = keep(createImageMount(layers.image, 'detached'))
  const options: MountOption[] = [
    ['source', layers.source],
    ['lowerdir+', image],
    ['datadir+', keep(openDirectory(layers.objects))],
  ]
  if (layers.upper !== undefined) {
    options.push(
      ['upperdir', keep(openDirectory(layers.upper.upperdir))],
      ['workdir', keep(openDirectory(layers.upper.workdir))],
    )
  }
  return createMount('overlay', [...options, ...features(layers)], attributes)
}

function createFromPaths(layers: Layers, attributes: number, form: 'attached' | 'loop'): number {
  using stack = new DisposableStack()
  const folder = `/run/stratum/layers/${randomHex(8)}`
  makeDirectories(folder, 0o700)
  stack.defer(() => void removeEmptyDirectory(folder))
  const image = createImageMount(layers.image, form)
  try {
    attachMount(image, folder)
    makePrivate(folder)
  } finally {
    close(image)
  }
  stack.defer(() => unmount(folder, 'detach')) // the overlay holds its layers by itself
  const options: MountOption[] = [
    ['source', layers.source],
    ['lowerdir+', folder],
    ['datadir+', layers.objects],
  ]
  if (layers.upper !== undefined) options.push(['upperdir', layers.upper.upperdir], ['workdir', layers.upper.workdir])
  return createMount('overlay', [...options, ...features(layers)], attributes)
}

function createImageMount(path: string, form: MountForm): number {
  return (form === 'loop' ? undefined : createFileMount(path)) ?? createLoopMount(path)
}

/** Undefined where the file system of the image cannot be read from inside the kernel: tmpfs. */
function createFileMount(path: string): number | undefined {
  try {
    return createMount('erofs', [['source', path], ['ro']], 0)
  } catch (error) {
    if (isErrno(error, 'ENOTBLK')) return undefined
    throw error
  }
}

function createLoopMount(path: string): number {
  const file = fs.openSync(nodePath(path), 'r')
  try {
    const loop = createLoopDevice(file)
    try {
      return createMount('erofs', [['source', loop.path], ['ro']], 0)
    } finally {
      fs.closeSync(loop.descriptor)
    }
  } finally {
    fs.closeSync(file)
  }
}

/** Metadata-only copies and renamed directories, without which a committed tree could not be changed freely; the index keeps hard links. */
function features({ upper, securityContext }: Layers): MountOption[] {
  const common: MountOption[] = [
    ['metacopy', 'on'],
    ['redirect_dir', 'on'],
    ...(securityContext === undefined ? [] : [['context', securityContext] as const]),
  ]
  return upper === undefined ? [...common, ['ro']] : [...common, ['index', 'on']]
}

function explain(error: unknown, { source, image }: Layers): unknown {
  if (isErrno(error, 'EBUSY'))
    return new StratumError('in-use', `${source}: its upperdir belongs to a mount that still lives`, { cause: error })
  if (isErrno(error, 'ESTALE')) return error
  if (isErrno(error, 'ENOTBLK')) {
    return new StratumError(
      'unsupported',
      `the kernel cannot mount an image from the file system of ${toUser(image)}`,
      {
        cause: error,
        hint: 'Put the store on ext4, XFS or btrfs (--store): tmpfs and some others cannot hold one',
      },
    )
  }
  if (isErrno(error, 'EUCLEAN') || (isErrno(error, 'EINVAL') && !isErofs(image))) {
    return new StratumError('integrity', `the image ${toUser(image)} is damaged: the kernel does not mount it`, {
      cause: error,
      hint: 'stratum fsck --repair brings back what can be brought back',
    })
  }
  if (isErrno(error, 'EINVAL', 'ENODEV', 'EPERM')) {
    return new StratumError(
      'unsupported',
      `the kernel refuses the mount: ${(error as Error).message} (${toUser(image)})`,
      {
        cause: error,
        hint: 'stratum doctor says what is missing',
      },
    )
  }
  return toStratumError(error, 'mounting')
}

const SUPERBLOCK_AT = 1024
const MAGIC = 0xe0f5e1e2

function isErofs(image: string): boolean {
  const file = fs.openSync(nodePath(image), 'r')
  try {
    const magic = Buffer.alloc(4)
    return fs.readSync(file, magic, 0, 4, SUPERBLOCK_AT) === 4 && magic.readUInt32LE() === MAGIC
  } finally {
    fs.closeSync(file)
  }
}
