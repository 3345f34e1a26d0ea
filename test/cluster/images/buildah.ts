import fs from 'node:fs'
import path from 'node:path'
import { run } from '../machine/run.ts'
import { CACHE, cacheFolder, once } from '../programs/cache.ts'

/** buildah's own storage, so that nothing else on the machine is touched. */
const STORAGE = path.join(CACHE, 'buildah')

export function buildah(args: readonly string[]): Promise<string> {
  // The runtime folder holds locks and mounts, which must not outlive a boot of the machine.
  return run('buildah', ['--root', STORAGE, '--runroot', '/run/stratum-tests/buildah', ...args], {
    env: { BUILDAH_ISOLATION: 'chroot' },
  })
}

/** Writes an image of buildah's storage as a file that containerd imports. */
export async function saveImage(name: string, file: string): Promise<void> {
  await buildah(['push', '--quiet', '--disable-compression', name, `oci-archive:${file}:${name}`])
}

export interface FileImage {
  /** Paths in the image, and what they come from. */
  readonly files: Readonly<Record<string, string>>
  /** More lines of the Containerfile. */
  readonly lines: readonly string[]
  /** What the content of the files depends on. */
  readonly madeFrom: readonly (string | Buffer)[]
}

/** An image from nothing but files, as a tar file in the cache. */
export async function imageFromFiles(name: string, { files, lines, madeFrom }: FileImage): Promise<string> {
  const copies = Object.keys(files).map((target, index) => `COPY ${index} ${target}`)
  const containerfile = ['FROM scratch', ...copies, ...lines].join('\n')
  const folder = cacheFolder('image', [name, containerfile, ...madeFrom])
  return once(path.join(folder, 'image.tar'), async unfinished => {
    const context = fs.mkdtempSync(`${unfinished}-context-`)
    for (const [index, source] of Object.values(files).entries()) {
      fs.cpSync(source, path.join(context, String(index)), { recursive: true, verbatimSymlinks: true })
    }
    fs.writeFileSync(path.join(context, 'Containerfile'), containerfile)
    await buildah(['build', '--quiet', '--tag', name, context])
    await saveImage(name, unfinished)
    fs.rmSync(context, { recursive: true })
  })
}
