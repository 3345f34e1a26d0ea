import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { PAUSE_IMAGE } from '../machine/node-config.ts'
import { run } from '../machine/run.ts'
import { programPath, SIDECARS } from '../programs/programs.ts'
import { imageFromFiles } from './buildah.ts'

/** What the tests' pods run, under the name that the examples in deploy/ use. */
export const BUSYBOX_IMAGE = 'docker.io/library/busybox:1.37'
const BUSYBOX = '/bin/busybox'

/** The sidecars' images are named as the chart's values name them by default, with another registry. */
export const SIDECAR_TAG = 'test'
export function sidecarImage(name: string): string {
  return `localhost/${name}:${SIDECAR_TAG}`
}

/** The images that are made of one static program each. */
export async function smallImages(): Promise<string[]> {
  const images = [await busyboxImage(), await pauseImage()]
  for (const name of Object.keys(SIDECARS.programs)) {
    const files = { [`/${name}`]: programPath(SIDECARS, name) }
    images.push(await imageFromFiles(sidecarImage(name), files, [`ENTRYPOINT ["/${name}"]`]))
  }
  return images
}

function pauseImage(): Promise<string> {
  return imageFromFiles(PAUSE_IMAGE, { '/bin/busybox': BUSYBOX }, ['ENTRYPOINT ["/bin/busybox", "sleep", "infinity"]'])
}

async function busyboxImage(): Promise<string> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'busybox-'))
  try {
    for (const folder of ['bin', 'tmp', 'etc']) fs.mkdirSync(path.join(root, folder))
    fs.chmodSync(path.join(root, 'tmp'), 0o1777)
    fs.writeFileSync(path.join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n')
    fs.copyFileSync(BUSYBOX, path.join(root, 'bin/busybox'))
    for (const applet of (await run(BUSYBOX, ['--list'])).split('\n')) {
      if (applet !== 'busybox') fs.symlinkSync('busybox', path.join(root, 'bin', applet))
    }
    const parts = Object.fromEntries(['bin', 'tmp', 'etc'].map(name => [`/${name}/`, path.join(root, name)]))
    return await imageFromFiles(BUSYBOX_IMAGE, parts, ['ENV PATH=/bin', 'CMD ["sh"]'])
  } finally {
    fs.rmSync(root, { recursive: true })
  }
}
