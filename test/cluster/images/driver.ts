import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { CACHE, cacheFolder, once, say } from '../programs/cache.ts'
import { baseImages, DEBIAN_IMAGE, NODE_IMAGE } from './base.ts'
import { buildah, saveImage } from './buildah.ts'

export const DRIVER_REPOSITORY = 'localhost/stratum'
/** So many images are kept: somebody else may be using one. */
const KEPT = 6
const ROOT = path.resolve(import.meta.dirname, '../../..')
/** What the Dockerfile copies: the same as .dockerignore lets through. */
const SOURCES = [
  'package.json',
  'package-lock.json',
  '.npmrc',
  'tsconfig.json',
  'tsconfig.build.json',
  'bin',
  'proto',
  'src',
]

export interface DriverImage {
  readonly file: string
  readonly tag: string
}

/** The image that the cluster runs, from the Dockerfile and the sources of a checkout (this one, if not said) as they are now. */
export async function driverImage(root = ROOT): Promise<DriverImage> {
  const files = ['Dockerfile', ...SOURCES].flatMap(name => filesBelow(root, name)).sort()
  const folder = cacheFolder(
    'driver',
    files.flatMap(file => [file, fs.readFileSync(path.join(root, file))]),
  )
  const tag = tagOf(folder)
  const file = await once(path.join(folder, 'image.tar'), unfinished => build(root, tag, unfinished))
  fs.utimesSync(file, new Date(), new Date())
  await forgetOldImages()
  return { file, tag }
}

/** Each change of the sources makes an image of hundreds of megabytes. */
async function forgetOldImages(): Promise<void> {
  const age = (folder: string): number =>
    fs.statSync(path.join(folder, 'image.tar'), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const folders = fs.globSync(path.join(CACHE, 'driver-*')).sort((a, b) => age(b) - age(a))
  for (const folder of folders.slice(KEPT)) {
    await buildah(['rmi', `${DRIVER_REPOSITORY}:${tagOf(folder)}`]).catch(() => undefined)
    fs.rmSync(folder, { recursive: true })
  }
}

function tagOf(folder: string): string {
  return path.basename(folder).replace('driver-', '')
}

async function build(root: string, tag: string, target: string): Promise<void> {
  await baseImages()
  const name = `${DRIVER_REPOSITORY}:${tag}`
  say(`building ${name} from the Dockerfile`)
  const settings = path.join(os.homedir(), '.npmrc')
  const bases = ['--build-arg', `BUILD_BASE=${NODE_IMAGE}`, '--build-arg', `BASE=${DEBIAN_IMAGE}`]
  const registry = fs.existsSync(settings) ? ['--volume', `${settings}:/root/.npmrc:ro`] : []
  await buildah([
    'build',
    '--quiet',
    '--layers',
    '--pull-never',
    '--network',
    'host',
    ...bases,
    ...registry,
    '--tag',
    name,
    root,
  ])
  await saveImage(name, target)
}

function filesBelow(root: string, name: string): string[] {
  const full = path.join(root, name)
  const kind = fs.statSync(full, { throwIfNoEntry: false })
  if (kind === undefined) return [] // an older checkout did not have it yet
  if (!kind.isDirectory()) return [name]
  const inner = fs.readdirSync(full, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return inner.map(entry => path.relative(root, path.join(entry.parentPath, entry.name)))
}
