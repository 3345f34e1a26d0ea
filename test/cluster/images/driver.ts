import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { cacheFolder, once, say } from '../programs/cache.ts'
import { baseImages, DEBIAN_IMAGE, NODE_IMAGE } from './base.ts'
import { buildah, saveImage } from './buildah.ts'

export const DRIVER_REPOSITORY = 'localhost/stratum'
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

/** The image that the cluster runs, from the Dockerfile and the sources of this checkout as they are now. */
export async function driverImage(): Promise<DriverImage> {
  const files = ['Dockerfile', ...SOURCES].flatMap(filesBelow).sort()
  const folder = cacheFolder(
    'driver',
    files.flatMap(file => [file, fs.readFileSync(path.join(ROOT, file))]),
  )
  const tag = path.basename(folder).replace('driver-', '')
  const file = await once(path.join(folder, 'image.tar'), unfinished => build(tag, unfinished))
  return { file, tag }
}

async function build(tag: string, target: string): Promise<void> {
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
    ROOT,
  ])
  await saveImage(name, target)
}

function filesBelow(name: string): string[] {
  const full = path.join(ROOT, name)
  if (!fs.statSync(full).isDirectory()) return [name]
  const inner = fs.readdirSync(full, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return inner.map(entry => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
}
