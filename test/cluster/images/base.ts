import fs from 'node:fs'
import path from 'node:path'
import { run } from '../machine/run.ts'
import { say } from '../programs/cache.ts'
import { buildah } from './buildah.ts'

/** Debian's smallest system, and the same with Node and npm: what stands in for images that nobody can pull here. */
export const DEBIAN_IMAGE = 'localhost/debian:bookworm'
export const NODE_IMAGE = 'localhost/node:24-bookworm'
const RELEASE = 'bookworm'
const ROOT = path.resolve(import.meta.dirname, '../../..')
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'

export async function baseImages(): Promise<void> {
  if (!(await exists(DEBIAN_IMAGE))) await debianImage()
  if (!(await exists(NODE_IMAGE))) await nodeImage()
}

async function exists(image: string): Promise<boolean> {
  return (await buildah(['images', '--quiet', '--filter', `reference=${image}`])) !== ''
}

async function debianImage(): Promise<void> {
  say(`making ${DEBIAN_IMAGE} (debootstrap)`)
  await withContainer('scratch', async (container, root) => {
    await run('debootstrap', ['--variant=minbase', '--include=ca-certificates', RELEASE, root, await mirror()])
    fs.rmSync(path.join(root, 'var/cache/apt'), { recursive: true })
    await buildah(['commit', '--quiet', container, DEBIAN_IMAGE])
  })
}

/** Where this machine gets Debian from, asked of apt. */
async function mirror(): Promise<string> {
  const lines = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'])
  const found = lines.split('\n').find(line => line.endsWith(` ${RELEASE}`))
  return found?.split(' ')[0] ?? 'http://deb.debian.org/debian'
}

/** Node is the locked one of this checkout, npm the one of this machine; both are only there to build with. */
async function nodeImage(): Promise<void> {
  say(`making ${NODE_IMAGE}`)
  await withContainer(DEBIAN_IMAGE, async (container, root) => {
    const node = fs.realpathSync(path.join(ROOT, 'node_modules/.bin/node'))
    fs.copyFileSync(node, path.join(root, 'usr/local/bin/node'))
    const npm = path.join((await run('npm', ['root', '--global'])).trim(), 'npm')
    fs.cpSync(npm, path.join(root, 'usr/local/lib/node_modules/npm'), { recursive: true, verbatimSymlinks: true })
    fs.symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', path.join(root, 'usr/local/bin/npm'))
    // A registry may be reached through a proxy whose authority only this machine knows.
    if (fs.existsSync(AUTHORITIES)) {
      fs.copyFileSync(AUTHORITIES, path.join(root, AUTHORITIES))
      await buildah(['config', '--env', `NODE_EXTRA_CA_CERTS=${AUTHORITIES}`, container])
    }
    await buildah(['commit', '--quiet', container, NODE_IMAGE])
  })
}

async function withContainer(from: string, work: (container: string, root: string) => Promise<void>): Promise<void> {
  const container = await buildah(['from', '--pull-never', from])
  try {
    await work(container, await buildah(['mount', container]))
  } finally {
    await buildah(['rm', container])
  }
}
